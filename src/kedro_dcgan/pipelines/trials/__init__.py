from kedro_dcgan.pipelines.trials.pipeline import create_pipeline

__all__ = ["create_pipeline"]
