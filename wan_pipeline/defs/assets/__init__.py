"""The asset graph: prompts -> plan -> images -> image_metadata -> gallery, one file each."""
