"""What each operation of an integer graph is in ONNX: functions over standard integer ops, in ONNX's own syntax.

Every `@name` in a body is an attribute of the function, every `bitsmith.Name` a call of another one. Types are
numbers there, those of TensorProto: 1 float32, 2 uint8, 6 int32, 7 int64, 13 uint64.

ConvInteger and MatMulInteger are fed unsigned bytes on both sides. For unsigned by signed bytes, processors
without dot-product instructions add pairs of products in 16 bits that saturate, and ONNX Runtime lets them;
unsigned by unsigned it widens first. So signed bytes move up by 128, and their zero points with them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from bitsmith.ir import layer_norm
from bitsmith.ir.integer import KNOT_FRACTION
from bitsmith.ir.softmax import INTERCEPT, SLOPE, STEPS

DOMAIN = "bitsmith"


@dataclass(frozen=True)
class Text:
    """One function: the names of its inputs, what `y` is, and the body that makes it."""

    inputs: str
    meaning: str
    body: str

    @property
    def attributes(self) -> list[str]:
        """The attributes it takes, in the order of their first use."""
        return list(dict.fromkeys(re.findall(r"@(\w+)", self.body)))

    @property
    def callees(self) -> list[str]:
        """The functions it calls, in the order of their first use."""
        return list(dict.fromkeys(re.findall(rf"\b{DOMAIN}\.(\w+)", self.body)))


REQUANTIZE = """
    y = bitsmith.Requantize <shift: int = @shift, zero_point: int = @zero_point, lowest: int = @lowest,
        highest: int = @highest, type: int = @type> (accumulator, multiplier)
"""

# `sums` of `values` less the zero point times w8 less w8_zero, by an op on unsigned bytes.
ONE_BYTE = """
    zero = Constant <value_int: int = @x_zero_point> ()
    x8 = bitsmith.Unsigned <signed: int = @x_signed> (values)
    zero8 = bitsmith.Unsigned <signed: int = @x_signed> (zero)
    sums = OP (x8, w8, zero8, w8_zero)
"""

# With values = 256 * high + low, and the zero point likewise, so that padding adds nothing to either sum.
TWO_BYTES = """
    zero = Constant <value_int: int = @x_zero_point> ()
    x_low = bitsmith.LowByte (values)
    x_high = bitsmith.HighByte <signed: int = @x_signed> (values)
    zero_low = bitsmith.LowByte (zero)
    zero_high = bitsmith.HighByte <signed: int = @x_signed> (zero)
    sums_low = OP (x_low, w8, zero_low, w8_zero)
    sums_high = OP (x_high, w8, zero_high, w8_zero)
    wide_low = Cast <to = 7> (sums_low)
    wide_high = Cast <to = 7> (sums_high)
    place = Constant <value_int = 256> ()
    scaled_high = Mul (wide_high, place)
    wide = Add (scaled_high, wide_low)
    sums = Cast <to = 6> (wide)
"""

UNSIGNED_WEIGHT = """
    nothing = Constant <value_int = 0> ()
    w8 = bitsmith.Unsigned <signed: int = @weight_signed> (WEIGHT)
    w8_zero = bitsmith.Unsigned <signed: int = @weight_signed> (nothing)
"""

# The same of weights of two bytes, w = 256 * high + low: the levels of a codebook or a minifloat.
TWO_BYTE_WEIGHT = """
    nothing = Constant <value_int = 0> ()
    w_low = bitsmith.LowByte (WEIGHT)
    w_high = bitsmith.HighByte <signed: int = @weight_signed> (WEIGHT)
    w_low_zero = bitsmith.LowByte (nothing)
    w_high_zero = bitsmith.HighByte <signed: int = @weight_signed> (nothing)
"""

ONE_BYTE_BY_TWO = """
    zero = Constant <value_int: int = @x_zero_point> ()
    x8 = bitsmith.Unsigned <signed: int = @x_signed> (values)
    zero8 = bitsmith.Unsigned <signed: int = @x_signed> (zero)
    sums_low = OP (x8, w_low, zero8, w_low_zero)
    sums_high = OP (x8, w_high, zero8, w_high_zero)
    wide_low = Cast <to = 7> (sums_low)
    wide_high = Cast <to = 7> (sums_high)
    place = Constant <value_int = 256> ()
    scaled_high = Mul (wide_high, place)
    wide = Add (scaled_high, wide_low)
    sums = Cast <to = 6> (wide)
"""


def _conv(sums: str, unsigned_weight: str = UNSIGNED_WEIGHT) -> Text:
    op = """ConvInteger <strides: ints = @strides, pads: ints = @pads, dilations: ints = @dilations,
        group: int = @groups>"""
    body = f"""
        values = Identity (x)
        {unsigned_weight.replace("WEIGHT", "weight")}
        {sums.replace("OP", op)}
        kernel = Shape <start = 2> (weight)
        bias_per_channel = bitsmith.PerChannel (bias, kernel)
        accumulator = Add (sums, bias_per_channel)
        {REQUANTIZE}
    """
    return Text("x, weight, bias, multiplier", "requantize(bias + conv(x - x_zero_point, weight))", body)


def _linear(sums: str, unsigned_weight: str = UNSIGNED_WEIGHT) -> Text:
    body = f"""
        values = Identity (x)
        columns = Transpose <perm = [1, 0]> (weight)
        {unsigned_weight.replace("WEIGHT", "columns")}
        {sums.replace("OP", "MatMulInteger")}
        accumulator = Add (sums, bias)
        {REQUANTIZE}
    """
    return Text("x, weight, bias, multiplier", "requantize(bias + (x - x_zero_point) weight^T)", body)


def _average_pool(sums: str) -> Text:
    # A convolution with ones, each channel a sample of its own. In Reshape, 0 keeps the size of an axis.
    op = "ConvInteger <strides: ints = @strides, pads: ints = @pads, dilations: ints = @dilations>"
    body = f"""
        kernel = Constant <value_ints: ints = @kernel> ()
        same = Sub (kernel, kernel)
        any_one = Constant <value_ints = [-1, 1]> ()
        one_channel = Concat <axis = 0> (any_one, same)
        values = Reshape (x, one_channel)
        one_one = Constant <value_ints = [1, 1]> ()
        window = Concat <axis = 0> (one_one, kernel)
        w8 = ConstantOfShape <value = uint8[1] {{1}}> (window)
        w8_zero = Constant <value = uint8 {{0}}> ()
        {sums.replace("OP", op)}
        batch_channels = Shape <start = 0, end = 2> (x)
        space = Shape <start = 2> (sums)
        shape = Concat <axis = 0> (batch_channels, space)
        accumulator = Reshape (sums, shape)
        {REQUANTIZE}
    """
    return Text("x, multiplier", "requantize(sum of x - x_zero_point over each window)", body)


def _normalised() -> str:
    """S * 2^k from 2^30 to 2^31 as `normal`, and 2^k as `power`, of `sums` S from 1 to 2^31 - 1."""
    stages = "".join(
        f"""
        limit{places} = Constant <value_int = {1 << (31 - places)}> ()
        step{places} = Constant <value_int = {1 << places}> ()
        is_below{places} = Less (normal{2 * places}, limit{places})
        factor{places} = Where (is_below{places}, step{places}, one)
        normal{places} = Mul (normal{2 * places}, factor{places})
        power{places} = Mul (power{2 * places}, factor{places})
        """
        for places in (16, 8, 4, 2, 1)
    )
    return f"""
        one = Constant <value_int = 1> ()
        normal32 = Identity (sums)
        power32 = Identity (one)
        {stages}
        normal = Identity (normal1)
        power = Identity (power1)
    """


def _reciprocal() -> str:
    """The reciprocal of ir/softmax.py as `reciprocal`, of `normal`."""
    steps = "".join(
        f"""
        product{i} = Mul (normal, r{i})
        off{i} = Sub (whole, product{i})
        part{i} = bitsmith.FloorDivided (off{i}, unit)
        moved{i} = Mul (r{i}, part{i})
        correction{i} = bitsmith.FloorDivided (moved{i}, unit)
        r{i + 1} = Add (r{i}, correction{i})
        """
        for i in range(STEPS)
    )
    return f"""
        unit = Constant <value_int = {1 << 30}> ()
        whole = Constant <value_int = {1 << 60}> ()
        intercept = Constant <value_int = {INTERCEPT}> ()
        slope = Constant <value_int = {SLOPE}> ()
        twice = Constant <value_int = {1 << 31}> ()
        risen = Mul (normal, slope)
        run = Div (risen, twice)
        r0 = Sub (intercept, run)
        {steps}
        reciprocal = Identity (r{STEPS})
    """


SHARES_MEANING = "2^30 e / sum e, e = (coarse[d div width] * fine[d mod width]) >> table_shift, d = max x - x"


def _shares() -> str:
    """A softmax's shares of 2^30 as `accumulator`."""
    return f"""
        wide = Cast <to = 7> (x)
        last = Constant <value_ints = [-1]> ()
        largest = ReduceMax <keepdims = 1> (wide, last)
        distance = Sub (largest, wide)
        width = Constant <value_int: int = @width> ()
        coarse_index = Div (distance, width)
        fine_index = Mod (distance, width)
        coarse_part = Gather <axis = 0> (coarse, coarse_index)
        fine_part = Gather <axis = 0> (fine, fine_index)
        raised = Mul (coarse_part, fine_part)
        table_shift = Constant <value_int: int = @table_shift> ()
        table_step = bitsmith.PowerOfTwo (table_shift)
        powers = Div (raised, table_step)
        sums = ReduceSum <keepdims = 1> (powers, last)
        {_normalised()}
        {_reciprocal()}
        shares = Mul (powers, power)
        parts = Mul (shares, reciprocal)
        accumulator = Div (parts, unit)
    """


def _interpolated(row: str) -> str:
    """y of `index`, an input less the lowest, and of knots that are looked up at `place` or `next_place` of `row`."""
    return f"""
        index = bitsmith.Centred <zero_point: int = @lowest_x> (x)
        segment_places = Constant <value_int: int = @segment_places> ()
        segment_length = bitsmith.PowerOfTwo (segment_places)
        segment = Div (index, segment_length)
        within = Mod (index, segment_length)
        places_there = Gather <axis = 0> (places, segment)
        length = bitsmith.PowerOfTwo (places_there)
        start = Gather <axis = 0> (starts, segment)
        first = Cast <to = 7> (start)
        past = Div (within, length)
        offset = Mod (within, length)
        knot = Add (first, past)
        any = Constant <value_ints = [-1]> ()
        row = Reshape (knots, any)
        one = Constant <value_int = 1> ()
        {row}
        next_place = Add (place, one)
        low32 = Gather <axis = 0> (row, place)
        high32 = Gather <axis = 0> (row, next_place)
        low = Cast <to = 7> (low32)
        high = Cast <to = 7> (high32)
        rise = Sub (high, low)
        risen = Mul (rise, offset)
        base = Mul (low, length)
        sum = Add (base, risen)
        unit = Constant <value_int = {1 << KNOT_FRACTION}> ()
        half_unit = Constant <value_int = {1 << (KNOT_FRACTION - 1)}> ()
        step = Mul (length, unit)
        half = Mul (length, half_unit)
        raised = Add (sum, half)
        rounded = bitsmith.FloorDivided (raised, step)
        lowest = Constant <value_int: int = @lowest> ()
        highest = Constant <value_int: int = @highest> ()
        is_above = Greater (rounded, highest)
        is_below = Less (rounded, lowest)
        at_most = Where (is_above, highest, rounded)
        clamped = Where (is_below, lowest, at_most)
        y = Cast <to: int = @type> (clamped)
    """


KNOT_OF_A_CHANNEL = """
        zero = Constant <value_int = 0> ()
        count = Shape <start = 0, end = 1> (knots)
        points = Shape <start = 1, end = 2> (knots)
        channels = Squeeze (count)
        channel = Range (zero, channels, one)
        first_of_row = Mul (channel, points)
        space = Shape <start = 2> (x)
        first_per_channel = bitsmith.PerChannel (first_of_row, space)
        place = Add (knot, first_per_channel)
"""


def _normal_square() -> str:
    """T of a LayerNorm as `square`, of V, `square0`; and `divisor`, 2^(places - k), of `divisor0`, 2^places."""
    stages, last = "", 0
    for signed in (16, 8, 4, 2, 1, -8, -4, -2, -1):
        grows, places = signed < 0, abs(signed)
        compared, limit = ("Less", 1 << (31 - 2 * places)) if grows else ("GreaterOrEqual", 1 << (29 + 2 * places))
        square, divisor = ("Mul", "Div") if grows else ("Div", "Mul")
        i, last = last, last + 1
        stages += f"""
        limit{i} = Constant <value_int = {limit}> ()
        root{i} = Constant <value_int = {1 << places}> ()
        moves{i} = {compared} (square{i}, limit{i})
        by{i} = Where (moves{i}, root{i}, one)
        twice{i} = Mul (by{i}, by{i})
        square{last} = {square} (square{i}, twice{i})
        divisor{last} = {divisor} (divisor{i}, by{i})
        """
    return f"""
        one = Constant <value_int = 1> ()
        {stages}
        square = Identity (square{last})
        divisor = Identity (divisor{last})
    """


def _reciprocal_root() -> str:
    """The reciprocal square root of ir/layer_norm.py as `reciprocal_root`, of `square`."""
    steps = "".join(
        f"""
        raised{i} = Mul (r{i}, r{i})
        half{i} = Div (raised{i}, unit)
        product{i} = Mul (square, half{i})
        off{i} = Sub (whole, product{i})
        part{i} = bitsmith.FloorDivided (off{i}, unit)
        moved{i} = Mul (r{i}, part{i})
        correction{i} = bitsmith.FloorDivided (moved{i}, twice)
        r{i + 1} = Add (r{i}, correction{i})
        """
        for i in range(layer_norm.STEPS)
    )
    return f"""
        unit = Constant <value_int = {1 << 30}> ()
        twice = Constant <value_int = {1 << 31}> ()
        whole = Constant <value_int = {1 << 60}> ()
        intercept = Constant <value_int = {layer_norm.INTERCEPT}> ()
        slope = Constant <value_int = {layer_norm.SLOPE}> ()
        risen = Mul (square, slope)
        run = Div (risen, twice)
        r0 = Sub (intercept, run)
        {steps}
        reciprocal_root = Identity (r{layer_norm.STEPS})
    """


def _layer_norm() -> str:
    return f"""
        coarse = bitsmith.Centred <zero_point: int = @x_zero_point> (x)
        finer = Constant <value_int: int = @finer> ()
        centred = Mul (coarse, finer)
        last = Constant <value_ints = [-1]> ()
        count = Constant <value_int: int = @count> ()
        epsilon = Constant <value_int: int = @epsilon> ()
        places = Constant <value_int: int = @places> ()
        sums = ReduceSum <keepdims = 1> (centred, last)
        squares = Mul (centred, centred)
        total = ReduceSum <keepdims = 1> (squares, last)
        wide = Mul (count, total)
        mean_square = Mul (sums, sums)
        variance = Sub (wide, mean_square)
        square0 = Add (variance, epsilon)
        divisor0 = bitsmith.PowerOfTwo (places)
        {_normal_square()}
        {_reciprocal_root()}
        times = Mul (count, centred)
        distances = Sub (times, sums)
        scaled = Mul (distances, reciprocal_root)
        normal = bitsmith.FloorDivided (scaled, divisor)
        gained = Mul (normal, gain)
        accumulator = Add (gained, offset)
        {REQUANTIZE}
    """


def _capped(plain: Text) -> Text:
    """The same function with an upper bound per channel on what it requantizes to."""
    body = plain.body.replace("bitsmith.Requantize ", "bitsmith.RequantizeCapped ").replace(
        "(accumulator, multiplier)", "(accumulator, multiplier, caps)"
    )
    return Text(f"{plain.inputs}, caps", f"min({plain.meaning}, caps)", body)


def _concat(count: int) -> Text:
    inputs = ", ".join(f"x{i}" for i in range(count))
    return Text(inputs, "the inputs side by side", f"y = Concat <axis: int = @axis> ({inputs})")


def _resize(rank: int) -> Text:
    steps = "".join(
        f"indices{axis} = Constant <value_ints: ints = @indices{axis}> ()\n"
        f"x{axis + 1} = Gather <axis = {axis + 1}> (x{axis}, indices{axis})\n"
        for axis in range(rank)
    )
    return Text("x0", "the elements at these indices of each axis", f"{steps} y = Identity (x{rank})")


MAX_POOL = """MaxPool <kernel_shape: ints = @kernel, strides: ints = @strides, pads: ints = @pads,
    dilations: ints = @dilations>"""

FUNCTIONS = {
    "Conv": _conv(ONE_BYTE),
    "ConvWide": _conv(TWO_BYTES),
    "ConvWideWeight": _conv(ONE_BYTE_BY_TWO, TWO_BYTE_WEIGHT),
    "Linear": _linear(ONE_BYTE),
    "LinearWide": _linear(TWO_BYTES),
    "LinearWideWeight": _linear(ONE_BYTE_BY_TWO, TWO_BYTE_WEIGHT),
    "AveragePool": _average_pool(ONE_BYTE),
    "AveragePoolWide": _average_pool(TWO_BYTES),
    "Add": Text(
        "a, b, multiplier",
        "requantize((a - a_zero_point) * a_multiplier + (b - b_zero_point) * b_multiplier)",
        f"""
        a_centred = bitsmith.Centred <zero_point: int = @a_zero_point> (a)
        b_centred = bitsmith.Centred <zero_point: int = @b_zero_point> (b)
        a_multiplier = Constant <value_int: int = @a_multiplier> ()
        b_multiplier = Constant <value_int: int = @b_multiplier> ()
        a_scaled = Mul (a_centred, a_multiplier)
        b_scaled = Mul (b_centred, b_multiplier)
        accumulator = Add (a_scaled, b_scaled)
        {REQUANTIZE}
        """,
    ),
    "Mul": Text(
        "a, b, multiplier",
        "requantize((a - a_zero_point) * (b - b_zero_point))",
        f"""
        a_centred = bitsmith.Centred <zero_point: int = @a_zero_point> (a)
        b_centred = bitsmith.Centred <zero_point: int = @b_zero_point> (b)
        accumulator = Mul (a_centred, b_centred)
        {REQUANTIZE}
        """,
    ),
    "MatMul": Text(
        "a, b, multiplier",
        # In 64 bits, since MatMulInteger takes bytes alone.
        "requantize((a - a_zero_point) (b - b_zero_point))",
        f"""
        a_centred = bitsmith.Centred <zero_point: int = @a_zero_point> (a)
        b_centred = bitsmith.Centred <zero_point: int = @b_zero_point> (b)
        accumulator = MatMul (a_centred, b_centred)
        {REQUANTIZE}
        """,
    ),
    "MatMulOfPowers": Text(
        "a, b, levels, multiplier",
        "requantize(levels[a] (b - b_zero_point))",
        f"""
        index = Cast <to = 7> (a)
        a_level = Gather <axis = 0> (levels, index)
        b_centred = bitsmith.Centred <zero_point: int = @b_zero_point> (b)
        accumulator = MatMul (a_level, b_centred)
        {REQUANTIZE}
        """,
    ),
    "Softmax": Text("x, coarse, fine, multiplier", f"requantize({SHARES_MEANING})", f"{_shares()} {REQUANTIZE}"),
    "SoftmaxToPowers": Text(
        "x, coarse, fine, thresholds",
        f"how many thresholds are above {SHARES_MEANING}",
        f"""
        {_shares()}
        apart = Unsqueeze (accumulator, last)
        is_below = Less (apart, thresholds)
        ones = Cast <to = 7> (is_below)
        count = ReduceSum <keepdims = 0> (ones, last)
        y = Cast <to: int = @type> (count)
        """,
    ),
    "LayerNorm": Text(
        "x, gain, offset, multiplier",
        "requantize((n x - sum x) / sqrt(n sum x^2 - (sum x)^2 + epsilon) * gain + offset), x = finer (x - zero point)",
        _layer_norm(),
    ),
    "MaxPool": Text("x", "the largest element of each window", f"y = {MAX_POOL} (x)"),
    "MaxPoolWide": Text(
        "x",
        # ONNX has no MaxPool of 16-bit integers.
        "the largest element of each window, by way of float32, which holds every 16-bit integer",
        f"""
        exact = Cast <to = 1> (x)
        largest = {MAX_POOL} (exact)
        y = Cast <to: int = @type> (largest)
        """,
    ),
    "Table": Text(
        "x, entries",
        "entries[0][x - lowest_x]",
        """
        index = bitsmith.Centred <zero_point: int = @lowest_x> (x)
        any = Constant <value_ints = [-1]> ()
        row = Reshape (entries, any)
        y = Gather <axis = 0> (row, index)
        """,
    ),
    "TablePerChannel": Text(
        "x, entries",
        "entries[channel][x - lowest_x]",
        """
        index = bitsmith.Centred <zero_point: int = @lowest_x> (x)
        zero = Constant <value_int = 0> ()
        one = Constant <value_int = 1> ()
        any = Constant <value_ints = [-1]> ()
        count = Shape <start = 0, end = 1> (entries)
        width = Shape <start = 1, end = 2> (entries)
        channels = Squeeze (count)
        channel = Range (zero, channels, one)
        first = Mul (channel, width)
        space = Shape <start = 2> (x)
        first_per_channel = bitsmith.PerChannel (first, space)
        place = Add (index, first_per_channel)
        rows = Reshape (entries, any)
        y = Gather <axis = 0> (rows, place)
        """,
    ),
    "InterpolatedTable": Text(
        "x, knots, starts, places",
        "between the knots at either side of x - lowest_x, rounded half up",
        _interpolated("place = Identity (knot)"),
    ),
    "InterpolatedTablePerChannel": Text(
        "x, knots, starts, places",
        "between the channel's knots at either side of x - lowest_x, rounded half up",
        _interpolated(KNOT_OF_A_CHANNEL),
    ),
    "Reshape": Text(
        "x",
        "the same elements in another shape",
        """
        shape = Constant <value_ints: ints = @shape> ()
        y = Reshape (x, shape)
        """,
    ),
    "Transpose": Text("x", "the axes in another order", "y = Transpose <perm: ints = @permutation> (x)"),
    "Slice": Text(
        "x",
        "every step-th element from start to end along each axis",
        """
        starts = Constant <value_ints: ints = @starts> ()
        ends = Constant <value_ints: ints = @ends> ()
        axes = Constant <value_ints: ints = @axes> ()
        steps = Constant <value_ints: ints = @steps> ()
        y = Slice (x, starts, ends, axes, steps)
        """,
    ),
    "Pad": Text(
        "x",
        # ONNX Runtime has no Pad of 16-bit integers.
        "value around x, by way of int32",
        """
        pads = Constant <value_ints: ints = @pads> ()
        filler = Constant <value_int: int = @value> ()
        filler32 = Cast <to = 6> (filler)
        x32 = Cast <to = 6> (x)
        padded = Pad (x32, pads, filler32)
        y = Cast <to: int = @type> (padded)
        """,
    ),
    "Requantize": Text(
        "accumulator, multiplier",
        "clamp(((accumulator * multiplier + 2^(shift - 1)) >> shift) + zero_point, lowest, highest)",
        # Where clamps, since Clip, Min and Max of int64 are wrong beyond 32 bits in ONNX Runtime on x86
        # (microsoft/onnxruntime#25280).
        """
        shift = Constant <value_int: int = @shift> ()
        step = bitsmith.PowerOfTwo (shift)
        two = Constant <value_int = 2> ()
        half = Div (step, two)
        wide = Cast <to = 7> (accumulator)
        product = Mul (wide, multiplier)
        raised = Add (product, half)
        shifted = bitsmith.FloorDivided (raised, step)
        zero_point = Constant <value_int: int = @zero_point> ()
        moved = Add (shifted, zero_point)
        lowest = Constant <value_int: int = @lowest> ()
        highest = Constant <value_int: int = @highest> ()
        is_above = Greater (moved, highest)
        is_below = Less (moved, lowest)
        at_most = Where (is_above, highest, moved)
        clamped = Where (is_below, lowest, at_most)
        y = Cast <to: int = @type> (clamped)
        """,
    ),
    "RequantizeCapped": Text(
        "accumulator, multiplier, caps",
        "min(requantize(accumulator), caps)",
        """
        free = bitsmith.Requantize <shift: int = @shift, zero_point: int = @zero_point, lowest: int = @lowest,
            highest: int = @highest, type: int = 7> (accumulator, multiplier)
        is_above = Greater (free, caps)
        capped = Where (is_above, caps, free)
        y = Cast <to: int = @type> (capped)
        """,
    ),
    "PowerOfTwo": Text(
        "places",
        "2^places as int64",
        """
        one = Constant <value = uint64 {1}> ()
        unsigned = Cast <to = 13> (places)
        power = BitShift <direction = "LEFT"> (one, unsigned)
        y = Cast <to = 7> (power)
        """,
    ),
    "FloorDivided": Text(
        "x, divisor",
        # Div rounds towards zero; Mod takes the sign of the divisor.
        "x / divisor, rounded down",
        """
        remainder = Mod (x, divisor)
        multiple = Sub (x, remainder)
        y = Div (multiple, divisor)
        """,
    ),
    "Centred": Text(
        "x",
        "x - zero_point as int64",
        """
        wide = Cast <to = 7> (x)
        zero_point = Constant <value_int: int = @zero_point> ()
        y = Sub (wide, zero_point)
        """,
    ),
    "Unsigned": Text(
        "x",
        "the byte x as uint8, plus 128 if it is signed",
        """
        signed = Constant <value_int: int = @signed> ()
        half = Constant <value_int = 128> ()
        offset = Mul (signed, half)
        flipped = Cast <to = 2> (offset)
        byte = Cast <to = 2> (x)
        y = BitwiseXor (byte, flipped)
        """,
    ),
    "LowByte": Text(
        "x",
        "x mod 256 as uint8",
        """
        wide = Cast <to = 7> (x)
        place = Constant <value_int = 256> ()
        low = Mod (wide, place)
        y = Cast <to = 2> (low)
        """,
    ),
    "HighByte": Text(
        "x",
        "x div 256, rounded down, as uint8, plus 128 if it is signed",
        """
        wide = Cast <to = 7> (x)
        place = Constant <value_int = 256> ()
        low = Mod (wide, place)
        rest = Sub (wide, low)
        high = Div (rest, place)
        y = bitsmith.Unsigned <signed: int = @signed> (high)
        """,
    ),
    "PerChannel": Text(
        "vector, space",
        "one element a channel, in a shape that broadcasts over as many spatial axes as `space` has sizes",
        """
        channels = Constant <value_ints = [-1]> ()
        ones = Div (space, space)
        shape = Concat <axis = 0> (channels, ones)
        y = Reshape (vector, shape)
        """,
    ),
}

REQUANTIZING = (
    *("Conv", "ConvWide", "ConvWideWeight", "Linear", "LinearWide", "LinearWideWeight"),
    *("AveragePool", "AveragePoolWide", "Add", "Mul"),
)
FUNCTIONS |= {f"{name}Capped": _capped(FUNCTIONS[name]) for name in REQUANTIZING}

FAMILIES = {"Concat": _concat, "Resize": _resize}
