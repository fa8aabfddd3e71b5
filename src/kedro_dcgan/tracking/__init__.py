"""MLflow: one run for each trained generator, live numbers and pictures, and the registry.

What a run has to tell is written into a journal on this disk first (`journal`), which nothing can hold up, and a thread
sends it on (`sender`, `delivery`, `records`). Each record can be sent twice without harm: a server that was away gets
what it has missed, by the next run or by `kedro dcgan sync`. The clock of everything is `step = images_seen`.

No other package imports mlflow, but for `tracking/serving.py`, which MLflow itself runs.
"""
