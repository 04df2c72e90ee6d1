"""The pipeline under `dagster dev`, through its API and in a browser."""
