"""Every flow of a few tasks, on a real server: each graph, each end of each task, a crash at each step."""
