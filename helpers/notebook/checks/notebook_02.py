"""What is right in the exercises of notebooks/02_preprocessing.ipynb."""

import numpy as np

from helpers.notebook.exercises import choice, exercise

DISTINCT = 20  # grey levels that a picture has at least; a mask has two
EVEN = 40  # grey levels between the brightest and the darkest part of the paper, at most, once a shadow is removed


@exercise(
    "02.1",
    hint="The longer side becomes 20 pixels, both sides are divided by the same number, and shapes name the height "
    "first. The target is pixel (14, 14); `place` rounds to whole pixels.",
)
def box_and_move(answer):
    """Shape in the box of 20 pixels, and the move to the centre of mass."""
    found = tuple(float(number) for number in answer)
    yield True, found == (20, 10, 5, 9)
    yield "Height comes first.", found == (10, 20, 5, 9)
    yield "Rows go down, columns to the right.", found == (20, 10, 9, 5)
    yield "The middle in MNIST is 14, not 13.5.", found == (20, 10, 4, 9)
    yield "It moves by whole pixels.", found == (20, 10, 4.8, 9.4)
    yield "The proportions are kept.", found == (20, 20, 5, 9)
    yield "The box has 20 pixels, not 28.", found == (28, 14, 5, 9)


@exercise(
    "02.2",
    hint="In the mask of a chalkboard the board is white. Paper covers more than half of a picture, so when more than "
    "half of a mask is white, the mask shows the paper: return 255 - mask.",
)
def either_polarity(answer):
    """A threshold that finds the ink whether it is darker or brighter than the paper."""
    drawn = np.zeros((64, 64), bool)
    drawn[8:40, 20:26] = drawn[8:14, 20:50] = True
    # (paper, ink): usual ones, faint ones, both darker and both brighter than the middle of the scale
    for paper, ink in ((235, 40), (50, 230), (205, 165), (60, 100), (115, 60), (150, 240)):
        mask = np.asarray(answer(np.where(drawn, ink, paper).astype(np.uint8)))
        kind = f"{'dark' if ink < paper else 'bright'} ink (ink {ink}, paper {paper})"
        is_mask = mask.shape == drawn.shape and set(np.unique(mask).tolist()) <= {0, 255}
        yield "A mask has the picture's shape and holds 0 and 255 only.", not is_mask
        yield f"With {kind} the mask does not show the ink in white.", not np.array_equal(mask > 0, drawn)
    yield True, True


@exercise(
    "02.3",
    hint="Across: the right column minus the left one, the middle row counted twice. Down: the bottom row minus the "
    "top one, the middle column counted twice. A negative sum means that it gets darker in that direction.",
)
def sobel_by_hand(answer):
    """Both Sobel filters on one patch."""
    found = tuple(float(number) for number in answer)
    yield True, found == (-640, -320)
    yield "Mind the signs: the left column and the top row count negatively.", found == (640, 320)
    yield "These are swapped: across comes first.", found == (-320, -640)
    yield "The middle row (across) and the middle column (down) count twice.", found == (-480, -160)


choice(
    "02.4",
    right="ab",
    hint="Each level is replaced by the share of pixels as dark or darker. Can that share fall when the level rises? "
    "At which level does it pass one half? Then look at the pencil in the figure, and at what was measured for CLAHE.",
)


@exercise(
    "02.5",
    hint="cv2.morphologyEx(grey, cv2.MORPH_CLOSE, kernel) with kernel = np.ones((91, 91), np.uint8) fills in dark "
    "strokes up to 90 pixels wide. Blur the result a little before you divide.",
)
def no_shadows(answer, grey_photos, conditions, finish, otsu, reader, y_new, hits):
    """The photographs divided by their paper."""
    yield f"It has {len(answer)} pictures, not {len(grey_photos)}.", len(answer) != len(grey_photos)
    pictures = [np.asarray(picture) for picture in answer]
    alike = all(p.shape == g.shape and p.dtype == np.uint8 for p, g in zip(pictures, grey_photos, strict=True))
    yield "Each picture is uint8 and has the shape of its grey photograph.", not alike
    shadows = np.flatnonzero(np.asarray(conditions) == "shadow")
    levels = np.median([len(np.unique(pictures[i])) for i in shadows])
    yield "These are masks; grey pictures are asked for.", levels < DISTINCT
    unevenness = np.median([_unevenness(pictures[i]) for i in shadows])
    yield "The paper is still darker in the shadow than beside it.", unevenness > EVEN
    masks = [finish(otsu(picture)) for picture in pictures]
    right = reader.predict(np.reshape(masks, (len(masks), -1))) == y_new
    in_shadow = right[shadows].mean()
    yield f"Otsu's method reads only {in_shadow:.0%} of the photographs with a shadow.", in_shadow < 0.5
    yield True, right.mean() > hits["Otsu"].mean()
    yield f"{right.mean():.1%} are read now, no more than before: other photographs have suffered.", True


def _unevenness(picture):
    """The range of the paper's brightness (the upper quartile) over sixteen parts of a picture, in grey levels."""
    side = picture.shape[0] // 4 * 4
    parts = picture[:side, :side].reshape(4, side // 4, 4, side // 4).swapaxes(1, 2).reshape(16, -1)
    return np.ptp(np.percentile(parts, 75, axis=1))


choice(
    "02.6",
    right="bc",
    hint="Two of them compare a difference with its interval, one is about the square root in a standard error, and "
    "one about the kind of pictures that were measured. Who took these photographs?",
)
