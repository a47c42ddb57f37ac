"""What models cost: time, memory, parameters and multiply-adds."""
