"""A video that is in no store, predicted by a store's networks: the stages' own steps, with one video in memory.

What a step computes stands in `stages/`; here is what it reads with (`memory`), what may be named as a source
(`sources`), and what becomes of the outcome (`results`, `saving`).
"""
