from kedro_dcgan.pipelines.evaluation.pipeline import create_pipeline

__all__ = ["create_pipeline"]
