"""Cutting matches out of a text, with a margin around each, as GPT-3's filter does (arXiv 2005.14165, appendix C)."""


def cut_out(text: str, spans: list[tuple[int, int]], margin: int, min_piece: int) -> tuple[str, list[tuple[int, int]]]:
    """(what is left, what was cut): `spans` with `margin` characters around each, and pieces of under `min_piece`.

    Spans are in bytes of the UTF-8 text, given and returned; those returned are in order and apart. Between two pieces
    that are left stands an empty line.
    """
    data = text.encode()
    wanted = sorted((_back(data, start, margin), _forth(data, end, margin)) for start, end in spans)
    cuts: list[tuple[int, int]] = []
    for start, end in wanted:
        # A piece between two cuts that is too short goes with them.
        if cuts and (start <= cuts[-1][1] or _short(data[cuts[-1][1] : start], min_piece)):
            cuts[-1] = (cuts[-1][0], max(end, cuts[-1][1]))
        else:
            cuts.append((start, end))
    if cuts and _short(data[: cuts[0][0]], min_piece):
        cuts[0] = (0, cuts[0][1])
    if cuts and _short(data[cuts[-1][1] :], min_piece):
        cuts[-1] = (cuts[-1][0], len(data))
    pieces, at = [], 0
    for start, end in [*cuts, (len(data), len(data))]:
        pieces.append(data[at:start].decode().strip())
        at = end
    return "\n\n".join(piece for piece in pieces if piece), cuts


def _short(piece: bytes, least: int) -> bool:
    return len(piece.decode().strip()) < least


def _back(data: bytes, place: int, characters: int) -> int:
    """The place so many characters before."""
    before = data[max(0, place - 4 * characters) : place].decode("utf-8", "ignore")
    return place - len(before[len(before) - min(characters, len(before)) :].encode())


def _forth(data: bytes, place: int, characters: int) -> int:
    """The place so many characters behind."""
    return place + len(data[place : place + 4 * characters].decode("utf-8", "ignore")[:characters].encode())
