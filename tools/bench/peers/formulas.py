"""The workloads as formulas, for any library: what differs between libraries is in the object `xp`.

Where a library has a function of its own for a part (softmax, attention, GELU), its `xp` says so and that
is used, as its users would.
"""


def chain(xp, x, y):
    t = xp.clip((x * 1.1 + 0.1) * y - x, -0.5, 0.5)
    return (t * t + y) * 0.3 - 0.2


def small_operations(xp, x, y):
    for _ in range(4):
        x = x * 1.01
        x = x + 0.1
        x = x - y
        x = xp.clip(x, -1.0, None)
        x = xp.clip(x, None, 1.0)
    return x


def distances(xp, a, b):
    apart = a[:, None, :] - b[None, :, :]
    return xp.sum(apart * apart, 2)


def black_scholes(xp, spot, strike, years):
    rate, volatility = 0.02, 0.3

    def normal(d):
        return (xp.erf(d * 0.5**0.5) + 1.0) * 0.5

    spread = xp.sqrt(years) * volatility
    d1 = (xp.log(spot / strike) + years * (rate + 0.5 * volatility**2)) / spread
    discounted = strike * xp.exp(years * -rate)
    call = spot * normal(d1) - discounted * normal(d1 - spread)
    return call, call - spot + discounted


def bodies_step(xp, position, velocity, mass):
    step, softening = 0.01, 0.01
    apart = position[None, :, :] - position[:, None, :]
    squared = xp.sum(apart * apart, 2) + softening
    pull = mass / (squared * xp.sqrt(squared))
    faster = velocity + xp.sum(apart * pull[:, :, None], 1) * step
    return faster, position + faster * step


def mlp_loss(xp, p, x, classes):
    h1 = xp.relu(x @ p[0] + p[1])
    h2 = xp.relu(h1 @ p[2] + p[3])
    return xp.cross_entropy(h2 @ p[4] + p[5], classes)


def cnn_loss(xp, p, images, classes):
    x = xp.max_pool(xp.relu(xp.conv3x3(images, p[0], p[1])))
    x = xp.max_pool(xp.relu(xp.conv3x3(x, p[2], p[3])))
    return xp.cross_entropy(x.reshape(64, -1) @ xp.swap(p[4], 0, 1) + p[5], classes)


def transformer(xp, *p):
    x = p[12]

    def split(y):
        return xp.swap(y.reshape(4, 256, 8, 64), 1, 2)

    qkv = xp.layer_norm(x, p[0], p[1]) @ p[2] + p[3]
    mixed = xp.attention(*(split(qkv[:, :, 512 * i:512 * (i + 1)]) for i in range(3)))
    y = x + xp.swap(mixed, 1, 2).reshape(4, 256, 512) @ p[4] + p[5]
    return y + xp.gelu_tanh(xp.layer_norm(y, p[6], p[7]) @ p[8] + p[9]) @ p[10] + p[11]


def reduction(name):
    """Of "sum0", "meanall", ...: the function's name in xp, and the axis."""
    function, axis = (name[:-3], None) if name.endswith("all") else (name[:-1], int(name[-1]))
    return lambda xp, x: getattr(xp, function)(x, axis)


def product(_, a, b):
    return a @ b


# What returns an array, or several.
PURE = {
    "W1a": chain,
    "W1b": lambda xp, x: xp.gelu_tanh(x * 1.5 + 0.1) * 0.9,
    "W1c": lambda xp, x: xp.gelu_erf(x * 1.5 + 0.1) * 0.9,
    "W2": lambda xp, x: xp.softmax(x),
    "W3a": lambda xp, x, weight, bias: xp.layer_norm(x, weight, bias),
    "W6a": lambda xp, q, k, v: xp.attention(q, k, v),
    "W7": lambda xp, a, b, bias: xp.gelu_tanh(a @ b + bias),
    "W8": small_operations,
    "W9": distances,
    "W14a": black_scholes,
    "W14b": bodies_step,
}
# The gradients for all inputs, given one for the result, which is the last input; and the result.
GRADIENT = {
    "W3b": PURE["W3a"],
    "W6b": PURE["W6a"],
    "W13": transformer,
}
# A loss of parameters and a batch, which a step of gradient descent lowers.
STEP = {"W5": mlp_loss, "W12": cnn_loss}
RATE = 0.01


def pure(name):
    if name.startswith("W4_"):
        return reduction(name[len("W4_"):])
    if name.startswith("W7_mm"):
        return product
    return PURE.get(name)
