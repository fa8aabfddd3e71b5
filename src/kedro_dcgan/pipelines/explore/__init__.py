from kedro_dcgan.pipelines.explore.pipeline import create_pipeline

__all__ = ["create_pipeline"]
