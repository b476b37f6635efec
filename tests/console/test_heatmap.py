"""Squares of a heat map: every share has its place and a shade that does not lie at the edges."""

from ispops.console import heatmap


def test_every_square_has_its_place() -> None:
    squares = heatmap.squares([0.5] * 70)
    assert len({(square.x, square.y) for square in squares}) == 70
    width, height = heatmap.size(70)
    assert max(square.x for square in squares) + heatmap.SIDE - heatmap.GAP == width
    assert max(square.y for square in squares) + heatmap.SIDE - heatmap.GAP == height
    assert heatmap.size(1) == (heatmap.SIDE - heatmap.GAP,) * 2


def test_only_nothing_is_pale_and_only_nearly_all_is_darkest() -> None:
    shades = [heatmap.shade(share) for share in (0, 1e-9, 0.25, 0.5, 0.75, 0.949, 0.95, 1)]
    assert shades == [0, 1, 2, 3, 4, 4, 5, 5]
    assert [square.percent for square in heatmap.squares([0, 1e-9, 0.999999, 1])] == [0, 1, 99, 100]
    assert [shade for shade, _ in heatmap.legend()] == list(range(heatmap.SHADES + 1))
