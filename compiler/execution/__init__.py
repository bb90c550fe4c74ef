"""Ways to run a graph, and to compare what two of them compute."""
