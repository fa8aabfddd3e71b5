"""Generator, checkpoint and images -> pages and pictures that show what the two networks have learned."""

from kedro.pipeline import Node, Pipeline

from kedro_dcgan.pipelines.explore import nodes


def create_pipeline(**_: object) -> Pipeline:
    """Return the explore pipeline."""
    sources = ["exported_generator", "resume_checkpoint", "images"]
    results = ["discriminator_features", "discriminator_page"]
    found = ["exported_generator", "latent_directions"]
    return Pipeline(
        [
            Node(nodes.name_directions, ["exported_generator", "images"], "latent_directions", name="name_directions"),
            Node(nodes.write_explorer, found, "explorer_page", name="write_explorer"),
            Node(nodes.draw_directions, found, "directions", name="draw_directions"),
            Node(nodes.inspect_discriminator, sources, results, name="inspect_discriminator"),
        ]
    )
