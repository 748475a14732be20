"""A network as a TFLite file: the mean colour of its picture, times some numbers."""

from __future__ import annotations

from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

FLOAT, INTEGER = schema.TensorType.FLOAT32, schema.TensorType.INT32
MEAN, FULLY_CONNECTED = schema.BuiltinOperator.MEAN, schema.BuiltinOperator.FULLY_CONNECTED


def tiny(side: int, outputs: list[np.ndarray]) -> bytes:
    """A network of a picture (1, side, side, 3), that gives the mean times each (n, 3) of `outputs`: (1, n)."""
    model: Any = schema.ModelT()
    graph: Any = schema.SubGraphT()
    model.version, model.buffers, graph.tensors, graph.operators = 3, [schema.BufferT()], [], []

    def tensor(shape: list[int], kind: int = FLOAT, content: np.ndarray | None = None) -> int:
        made: Any = schema.TensorT()
        made.shape, made.type, made.name, made.buffer = shape, kind, f"t{len(graph.tensors)}".encode(), 0
        if content is not None:
            made.buffer = len(model.buffers)
            model.buffers.append(schema.BufferT())
            model.buffers[-1].data = np.frombuffer(content.tobytes(), np.uint8)
        graph.tensors.append(made)
        return len(graph.tensors) - 1

    def operator(code: int, inputs: list[int], out: int, kind: int, options: Any) -> None:
        made: Any = schema.OperatorT()
        made.opcodeIndex, made.inputs, made.outputs = code, inputs, [out]
        made.builtinOptionsType, made.builtinOptions = kind, options
        graph.operators.append(made)

    model.operatorCodes = []
    for code in (MEAN, FULLY_CONNECTED):
        made: Any = schema.OperatorCodeT()
        made.builtinCode, made.deprecatedBuiltinCode, made.version = code, code, 1
        model.operatorCodes.append(made)
    picture, mean = tensor([1, side, side, 3]), tensor([1, 3])
    axes = tensor([2], INTEGER, np.array([1, 2], np.int32))
    operator(0, [picture, axes], mean, schema.BuiltinOptions.ReducerOptions, schema.ReducerOptionsT())
    graph.inputs, graph.outputs = [picture], []
    for weights in outputs:
        of_weights = tensor(list(weights.shape), FLOAT, weights.astype(np.float32))
        graph.outputs.append(tensor([1, len(weights)]))
        options = schema.FullyConnectedOptionsT()
        operator(1, [mean, of_weights, -1], graph.outputs[-1], schema.BuiltinOptions.FullyConnectedOptions, options)
    model.subgraphs = [graph]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())
