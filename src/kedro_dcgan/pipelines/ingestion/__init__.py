from kedro_dcgan.pipelines.ingestion.pipeline import create_pipeline

__all__ = ["create_pipeline"]
