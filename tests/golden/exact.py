"""exact.py - logits in float64 of models in which something is chosen (experts, rows that attention sees): what the models share.

A model says of each choice by how much the last that it takes leads the first that it leaves (its margin), and can be told to take
that one instead (a swap). A choice is of a place, ('experts', layer) or ('rows', layer), and a position. ties.py says what for.
"""
import numpy as np
import reference


def sigmoid(x): return 1 / (1 + np.exp(-x))


def silu(x): return x * sigmoid(x)


def softmax(x, axis=-1):
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


class Choices:
    """swaps: {(place, position)}; margins: {(place, position): number}"""
    def __init__(self, swaps): self.swaps, self.margins = swaps, {}

    def largest(self, place, position, scores, n):
        """the columns of the n largest of scores, all where there are no more; the first of equal ones"""
        order = np.argsort(-scores, kind='stable')
        if len(order) <= n: return order
        self.margins[place, position] = scores[order[n - 1]] - scores[order[n]]
        return np.append(order[:n - 1], order[n if (place, position) in self.swaps else n - 1])


class Model:
    def __init__(self, path):
        self.g = reference.Gguf(path)
        self.weights = {name: self.g.tensor(name) for name in self.g.tensors}
        arch = self.g.keys['general.architecture'].decode()
        self.key = lambda name, default=None: self.g.keys.get(arch + '.' + name, default)
        self.eps = self.key('attention.layer_norm_rms_epsilon')

    def unit(self, x): return x / np.sqrt((x * x).mean(-1, keepdims=True) + self.eps)

    def norm(self, x, name): return self.unit(x) * self.weights[name]

    def linear(self, x, name): return x @ self.weights[name].T

    def expert(self, b, e, x, gated=lambda gate, up: silu(gate) * up):
        """expert e of a layer; one token's"""
        return self.weights[b + 'ffn_down_exps.weight'][e] @ gated(self.weights[b + 'ffn_gate_exps.weight'][e] @ x, self.weights[b + 'ffn_up_exps.weight'][e] @ x)

    def logits(self, ids, swaps=()):
        """(logits, margins)"""
        choices = Choices(swaps)
        return self.forward(ids, choices), choices.margins
