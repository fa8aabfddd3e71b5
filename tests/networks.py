"""Configs of networks for tests."""

from kedro_dcgan.model.networks import DiscriminatorConfig, GeneratorConfig


def generator_config(architecture, size, channels, latent_dim, width):
    """Return the config of a generator."""
    return GeneratorConfig(architecture, size, channels, latent_dim, width)


def discriminator_config(architecture, size, channels, width, **options):
    """Return the config of a discriminator."""
    return DiscriminatorConfig(architecture, size, channels, width, **options)
