"""What a person sets: parameters, the places of files in a workspace, the environment."""
