"""Laws of loss against parameters N and tokens D, and what follows from them. Losses are in nats a token.

    chinchilla    L = E + A / N^alpha + B / D^beta                        (arXiv 2203.15556, approach 3)
    kaplan        L = ((Nc / N)^(aN / aD) + Dc / D)^aD                    (arXiv 2001.08361)
    repeated      chinchilla with N and D replaced by what they are worth when D reads U unique tokens over and over:
                  U (1 + R (1 - e^(-r / R))), r = epochs - 1              (arXiv 2305.16264)

A run costs C = k N D operations; k is 6 where N counts every parameter that multiplies. The best N for a budget is
G (C / k)^(beta / (alpha + beta)) with G = (alpha A / (beta B))^(1 / (alpha + beta)).
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from curate.errors import ConfigError

Array = npt.NDArray[np.float64]

CHINCHILLA_RATIO = 20.0  # tokens a parameter, the rule of thumb of arXiv 2203.15556
REPEAT_TOKENS, REPEAT_PARAMETERS = 15.387756, 5.309743  # R*_D and R*_N of arXiv 2305.16264


class Chinchilla(NamedTuple):
    """E + A / N^alpha + B / D^beta."""

    A: float
    B: float
    E: float
    alpha: float
    beta: float

    def loss(self, parameters: Any, tokens: Any) -> Any:
        """Nats a token."""
        return self.E + self.A / np.power(parameters, self.alpha) + self.B / np.power(tokens, self.beta)

    @property
    def _g(self) -> float:
        ratio = self.alpha * self.A / (self.beta * self.B)
        return float(ratio ** (1 / (self.alpha + self.beta)))

    def best(self, product: float) -> tuple[float, float]:
        """(N, D) of the least loss with N D = product, that is with operations / k."""
        share = self.beta / (self.alpha + self.beta)
        parameters = self._g * product**share
        return parameters, product / parameters

    def parameters_for(self, tokens: Any) -> Any:
        """The N for which D tokens are the best choice."""
        g = self._g
        return np.power(tokens * g, self.beta / self.alpha) * g

    def tokens_for(self, parameters: float, loss: float) -> float:
        """The D at which N parameters reach a loss; infinite where they never do."""
        left = loss - self.E - self.A / parameters**self.alpha
        return float((self.B / left) ** (1 / self.beta)) if left > 0 else math.inf


# The fit of arXiv 2305.16264 itself, of which the check values of `repeated_loss` are.
DATA_CONSTRAINED = Chinchilla(
    math.exp(6.255414), math.exp(7.3049974), math.exp(0.6254804), alpha=0.3526596, beta=0.3526596
)


class Kaplan(NamedTuple):
    """((Nc / N)^(aN / aD) + Dc / D)^aD."""

    Nc: float
    Dc: float
    alpha_n: float
    alpha_d: float

    def loss(self, parameters: Any, tokens: Any) -> Any:
        """Nats a token."""
        inner = np.power(self.Nc / parameters, self.alpha_n / self.alpha_d) + self.Dc / tokens
        return np.power(inner, self.alpha_d)


def worth(unique: Any, repeats: Any, constant: float) -> Any:
    """What `unique` things are worth that were read 1 + repeats times: U (1 + R (1 - e^(-r / R)))."""
    return unique * (1 + constant * -np.expm1(-repeats / constant))


def repeated_loss(
    law: Chinchilla,
    parameters: Any,
    tokens: Any,
    unique: Any,
    repeat_tokens: float = REPEAT_TOKENS,
    repeat_parameters: float = REPEAT_PARAMETERS,
) -> Any:
    """Loss where training reads `tokens`, and there are `unique` different ones.

    Parameters too are worth less beyond those that the unique tokens can fill. With more unique tokens than are read
    this is the law itself; the paper's own form has no such case.
    """
    filled = np.minimum(parameters, law.parameters_for(unique))
    unique = np.minimum(unique, tokens)
    n = worth(filled, np.maximum(parameters / filled - 1, 0), repeat_parameters)
    return law.loss(n, worth(unique, np.maximum(tokens / unique - 1, 0), repeat_tokens))


def minimum(loss: Callable[[float], float], low: float, high: float, exact: float = 1e-9) -> float:
    """Where a function of one valley is least, by golden sections of the logarithm of its argument, to `exact`."""
    golden = (math.sqrt(5) - 1) / 2
    a, b = math.log(low), math.log(high)
    c, d = b - golden * (b - a), a + golden * (b - a)
    at_c, at_d = loss(math.exp(c)), loss(math.exp(d))
    while b - a > exact:
        if at_c <= at_d:
            b, d, at_d = d, c, at_c
            c = b - golden * (b - a)
            at_c = loss(math.exp(c))
        else:
            a, c, at_c = c, d, at_d
            d = a + golden * (b - a)
            at_d = loss(math.exp(d))
    return math.exp((a + b) / 2)


def best_repeated(
    law: Chinchilla, product: float, unique: float, constants: tuple[float, float]
) -> tuple[float, float]:
    """(N, D) of the least loss with N D = product, where there are `unique` tokens."""
    parameters, _ = law.best(product)

    def loss(n: float) -> float:
        return float(repeated_loss(law, n, product / n, unique, *constants))

    found = minimum(loss, parameters / 1e3, parameters * 1e3)
    return found, product / found


def best_for_inference(law: Chinchilla, loss: float, answered: float, training_cost: float) -> tuple[float, float]:
    """(N, D) that reach `loss` with the fewest operations, `answered` tokens of inference at 2 a parameter included
    (arXiv 2401.00448). training_cost: k. Raises ConfigError for a loss below what the law can reach."""
    if loss <= law.E:
        raise ConfigError(f"no model reaches a loss of {loss:.4f}: the law's limit is {law.E:.4f}")
    least = (law.A / (loss - law.E)) ** (1 / law.alpha)  # with endless tokens

    def cost(n: float) -> float:
        return training_cost * n * law.tokens_for(n, loss) + 2 * n * answered

    found = minimum(cost, least * (1 + 1e-6), least * 1e4)
    return found, law.tokens_for(found, loss)
