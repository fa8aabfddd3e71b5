from kedro_dcgan.pipelines.export.pipeline import create_pipeline

__all__ = ["create_pipeline"]
