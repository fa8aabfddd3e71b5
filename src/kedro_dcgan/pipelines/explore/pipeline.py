"""Generator, checkpoint and images -> pages and pictures that show what the two networks have learned."""

from kedro.pipeline import Node, Pipeline

from kedro_dcgan.pipelines.explore import nodes


def create_pipeline(**_: object) -> Pipeline:
    """Return the explore pipeline."""
    sources = ["generator", "resume_checkpoint", "images"]
    results = ["discriminator_features", "discriminator_page"]
    return Pipeline(
        [
            Node(nodes.write_explorer, "generator", "explorer_page", name="write_explorer"),
            Node(nodes.draw_directions, "generator", "directions", name="draw_directions"),
            Node(nodes.inspect_discriminator, sources, results, name="inspect_discriminator"),
        ]
    )
