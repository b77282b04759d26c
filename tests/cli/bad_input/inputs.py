"""Input that is refused, for more than one of these files."""

from pathlib import Path

from distail.data.image_set import ImageSet


class Harmful:
    """Touches a file when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return Path.touch, (self.mark,)


def renamed(images: ImageSet, *names: str) -> ImageSet:
    return ImageSet(images.images, images.labels, names)
