"""The pipeline in Dagster, end to end: real instances, a real server to buy from."""
