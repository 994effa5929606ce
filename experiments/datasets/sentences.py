"""Data sets of labelled texts, from the folder NEURO_DATA."""

import gzip
from pathlib import Path

import numpy as np

from experiments.datasets.arrays import CALIBRATION, DAMAGED, place, spread
from experiments.datasets.text import Texts
from neuro.errors import BadInput

SST2 = "https://nlp.stanford.edu/sentiment"
TREC = "https://cogcomp.seas.upenn.edu/Data/QA/QC"
SMS_SPAM = "https://archive.ics.uci.edu/dataset/228/sms+spam+collection"
LARGEST = 64 * 2**20


def sst2(root: Path | None) -> Texts:
    """Sentences of film reviews, 0 negative or 1 positive: `root`/text/sst2/test.tsv.gz and train.tsv.gz."""
    (x, y), (training, _) = (
        _labelled(place(root, f"text/sst2/{part}.tsv.gz", SST2), "utf-8", "\t", ("0", "1"), last=True)
        for part in ("test", "train")
    )
    description = f"SST-2, {len(x):,} test sentences; calibration: training sentences, evenly spaced"
    return Texts(x, y, [training[i] for i in spread(len(training))], description)


def trec(root: Path | None) -> Texts:
    """Questions by what they ask for, 6 classes: `root`/text/trec/TREC.test.all.gz and TREC.train.all.gz."""
    (x, y), (training, _) = (
        _labelled(place(root, f"text/trec/TREC.{part}.all.gz", TREC), "latin-1", " ", tuple("012345"))
        for part in ("test", "train")
    )
    description = f"TREC, {len(x):,} test questions; calibration: training questions, evenly spaced"
    return Texts(x, y, [training[i] for i in spread(len(training))], description)


def sms_spam(root: Path | None) -> Texts:
    """Text messages, 0 wanted (ham) or 1 spam: `root`/text/sms_spam.tsv.gz. The set has no split of its own."""
    path = place(root, "text/sms_spam.tsv.gz", SMS_SPAM)
    x, y = _labelled(path, "utf-8", "\t", ("ham", "spam"))
    if len(x) <= CALIBRATION:
        raise BadInput(f"{path}: {len(x):,} messages; the first {CALIBRATION:,} are for calibration, more are needed.")
    description = f"SMS Spam Collection, messages from {CALIBRATION:,} on; calibration: the first {CALIBRATION:,}"
    return Texts(x[CALIBRATION:], y[CALIBRATION:], x[:CALIBRATION], description)


def _labelled(
    path: Path, letters: str, between: str, labels: tuple[str, ...], *, last: bool = False
) -> tuple[list[str], np.ndarray]:
    """Texts and classes of a gzipped file, one text a line; the label stands first, or last."""
    try:
        with gzip.open(path) as file:
            content = file.read(LARGEST + 1)
        if len(content) > LARGEST:
            raise ValueError(f"takes more than {LARGEST:,} bytes unpacked")
        lines = content.decode(letters).rstrip("\n").split("\n")  # some texts hold other marks of a line's end
    except DAMAGED as error:
        raise BadInput(f"{path}: not a readable gzipped text file: {error}.") from None
    texts, classes = [], []
    for number, line in enumerate(lines, 1):
        head, _, tail = line.rpartition(between) if last else line.partition(between)
        text, label = (head, tail) if last else (tail, head)
        if label not in labels:
            raise BadInput(f"{path}: line {number:,} has the label {label[:20]!r}, not one of {', '.join(labels)}.")
        texts.append(text)
        classes.append(labels.index(label))
    return texts, np.array(classes)
