from kedro_dcgan.pipelines.preprocessing.pipeline import create_pipeline

__all__ = ["create_pipeline"]
