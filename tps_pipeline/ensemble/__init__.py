"""What is made of several methods' predictions: pure functions from tables to tables, without torch."""
