"""The networks: building, describing, sampling, saving and exporting them. Imports no framework but torch."""
