"""MLflow tracking: one run per trained generator, live metrics and images, and the model registry.

Every tracking record is written to a journal on the local disk first (`journal`); a thread uploads it (`uploader`,
`records`). If the server is down, the next run or `kedro dcgan sync` uploads the pending records. The step of every
metric, except system metrics, is `images_seen`. No other package imports mlflow.
"""
