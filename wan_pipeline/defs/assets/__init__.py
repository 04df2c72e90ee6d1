"""The asset graph: prompts -> plan -> images -> image_metadata -> gallery, and images -> spend."""
