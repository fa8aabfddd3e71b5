"""The five pipelines. They share dataset names, not code."""
