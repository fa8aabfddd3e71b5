from kedro_dcgan.pipelines.selection.pipeline import create_pipeline

__all__ = ["create_pipeline"]
