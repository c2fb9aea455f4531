"""What a DICOM header says of its file: an image or another object, of whom, of which series, and where it lies."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.uid import UID

from autossl.data.readers import codecs, dicom, images
from autossl.data.readers.images import Header, Unreadable
from autossl.errors import UserError
from autossl.errors.printable import shown

KEYS = ("AccessionNumber", "PatientID", "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
TAGS = [
    *KEYS, "IssuerOfPatientID", "PatientName", "PatientBirthDate", "SOPClassUID", "ImageType", "Modality",
    "InstanceNumber", "Rows", "Columns", "NumberOfFrames", "SamplesPerPixel", "BitsAllocated", "BitsStored",
    "PixelRepresentation", "PhotometricInterpretation", "PixelSpacing", "ImagerPixelSpacing", "ImagePositionPatient",
    "ImageOrientationPatient", "RescaleSlope", "RescaleIntercept", "ModalityLUTSequence",
    "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence",
]  # fmt: skip
NO_IMAGES = ("Segmentation", "Label Map Segmentation", "RT ", "Parametric Map", "VL Whole Slide")
NEWER = {"1.2.840.10008.5.1.4.1.1.66.7": "Label Map Segmentation"}  # than the tables of pydicom
CAPTURE, UNKNOWN = "Secondary Capture", "object of a kind without a name"
CODES = frozenset({"CS", "DS", "IS", "FD", "FL", "US", "SS", "UL", "SL", "AS"})  # forms of values that name nobody
TEXTS = frozenset(
    {"SeriesDescription", "StudyDescription", "ProtocolName", "Manufacturer", "ManufacturerModelName", "SequenceName"}
)
NUMBERING = ("Number", "ID", "Identifier", "UID", "Index")
YEARS = {"D": 365.25, "W": 365.25 / 7, "M": 12.0, "Y": 1.0}  # what units of an age are to a year


class Plane(NamedTuple):
    """Where a frame lies in the patient: mm to the left, to the back and to the head."""

    corner: tuple[float, ...]  # (3,) the middle of its first pixel
    along: tuple[float, ...]  # (6,) the direction in which columns are counted, then that of rows
    spacing: tuple[float, ...]  # (2,) mm between rows, between columns


class Instance(NamedTuple):
    """A DICOM file by its header; identifiers in it are for matching only and are never shown."""

    path: Path
    aside: str  # what it is if it is no image, in words; "" for an image
    keys: dict[str, str]  # by the names of KEYS
    patient: str
    modality: str
    header: Header
    frames: int
    number: int
    planes: tuple[Plane | None, ...]  # one for each frame
    capture: bool  # a picture of a screen or a scanned film, or an image that was brought into DICOM
    labels: dict[str, str]
    picture: bool = False  # an image of another form, of which nothing else is known


def of_picture(path: Path, attributes: tuple[str, ...] = ()) -> Instance:
    """An image file of another form; Unreadable where its header is."""
    header = images.look(path)
    if header is None:
        images.decode(path)  # says why
        raise Unreadable("it changes while it is read")
    none: dict[str, str] = {key: "" for key in KEYS}
    return Instance(path, "", none, "", "", header, 1, 0, (None,), False, dict.fromkeys(attributes, ""), True)


def look(path: Path, attributes: tuple[str, ...] = ()) -> Instance:
    """What the header of a file says; Unreadable where it is damaged."""
    about = dicom.header(path, [*TAGS, *attributes])
    try:
        return _instance(path, about, attributes)
    except (Unreadable, UserError):
        raise
    except Exception as fault:  # values that are none, wherever they stand
        raise Unreadable(f"it is damaged ({type(fault).__name__})") from None


def refuse_attribute(name: str, place: str) -> None:
    """UserError for a name of no attribute, or of one that may tell who somebody is."""
    if tag_for_keyword(name) is None:
        raise UserError(
            f"a column or an attribute of DICOM was wanted, found --label-column '{shown(name)}' beside {place}; "
            "name one as DICOM does (Modality, SeriesDescription, BodyPartExamined)"
        )
    if name not in TEXTS and (dictionary_VR(name) not in CODES or name.endswith(NUMBERING)):
        raise UserError(
            f"labels that identify nobody were wanted, found --label-column {name} beside {place}, which may; name "
            "another (Modality, SeriesDescription, BodyPartExamined)"
        )


def _instance(path: Path, about: Dataset, attributes: tuple[str, ...]) -> Instance:
    keys = {name: _text(about, name) for name in KEYS}
    syntax = dicom.syntax_of(about)
    name = _kind(dicom.kind_of(about))
    aside = _aside(about, name)
    empty = Header((0, 0), 0, 255)
    header, planes, frames = empty, tuple[Plane | None, ...](), 0
    if not aside:
        dicom.check_promise(about)
        frames = max(1, int(about.get("NumberOfFrames") or 1))
        header = _header(about)
        planes = tuple(plane_of(about, frame) for frame in range(frames))
        if syntax and codecs.lacking(syntax, int(about.get("BitsStored") or 0)):
            raise UserError(
                f"DICOM that can be decoded was wanted, found pixels compressed as {syntax.name}; {codecs.REMEDY}"
            )
    labels = {attribute: _value(about, attribute) for attribute in attributes}
    number = int(about.get("InstanceNumber") or 0)
    modality = _text(about, "Modality")
    return Instance(
        path, aside, keys, _patient(about), modality, header, frames, number, planes, name.startswith(CAPTURE), labels
    )


def _kind(sop: str) -> str:
    """The name of a class of objects, without the words that all have."""
    name = NEWER.get(sop) or UID(sop).name
    return UNKNOWN if name == sop else name.removesuffix(" Storage")


def _aside(about: Dataset, kind: str) -> str:
    """What a file is that is no image to train on; "" for one that is."""
    if not about.get("Rows") or kind.startswith(NO_IMAGES):
        return kind
    words = about.get("ImageType") or ()
    return "localizer" if "LOCALIZER" in [str(word).upper() for word in words] else ""


def _header(about: Dataset) -> Header:
    size = (int(about.Rows), int(about.Columns))
    photometric, samples = about.get("PhotometricInterpretation"), int(about.SamplesPerPixel)
    bits = int(about.get("BitsStored") or about.BitsAllocated)
    if photometric == dicom.PALETTE:
        return Header(size, 3, 255)
    if samples == 3:
        return Header(size, 3, 255 if int(about.BitsAllocated) == 8 else 0)
    plain = dicom.rescale(about, 0) == (1, 0) and not about.get("ModalityLUTSequence")
    whole = plain and not int(about.get("PixelRepresentation") or 0) and bits <= 16
    white = (255 if int(about.BitsAllocated) <= 8 else 0) if whole else -1
    return Header(size, samples, white, inverted=photometric == dicom.INVERTED)


def plane_of(about: Dataset, frame: int) -> Plane | None:
    """Where a frame lies; None where that is not said, or makes no sense."""
    corner = dicom.groups(about, frame, "PlanePositionSequence").get("ImagePositionPatient")
    along = dicom.groups(about, frame, "PlaneOrientationSequence").get("ImageOrientationPatient")
    spacing = dicom.groups(about, frame, "PixelMeasuresSequence").get("PixelSpacing")
    if any(each is None or len(each) != n for each, n in ((corner, 3), (along, 6), (spacing, 2))):
        return None
    found = Plane(*(tuple(float(value) for value in each) for each in (corner, along, spacing)))
    first, second = np.array(found.along).reshape(2, 3)
    square = abs(first @ first - 1) < 0.01 and abs(second @ second - 1) < 0.01 and abs(first @ second) < 0.01
    return found if square and np.isfinite(found.corner).all() and min(found.spacing) > 0 else None


def _patient(about: Dataset) -> str:
    """Who it is, as far as a header tells: number and who gave it, or name and day of birth."""
    number = _text(about, "PatientID")
    if number:
        return f"{number}\0{_text(about, 'IssuerOfPatientID')}"
    name, born = _text(about, "PatientName").strip("^ "), _text(about, "PatientBirthDate")
    return f"\0{name}\0{born}" if name else ""


def _text(about: Dataset, name: str) -> str:
    return str(about.get(name) or "").strip("\0 ")


def _value(about: Dataset, name: str) -> str:
    """An attribute as a label: ages in years, several values as one text."""
    found: Any = about.get(name)
    if found is None or (not isinstance(found, str | int | float) and not hasattr(found, "__iter__")):
        return ""
    text = str(found).strip("\0 ") if isinstance(found, str | int | float) else "/".join(map(str, found))
    if dictionary_VR(name) == "AS" and text[:-1].isdigit() and text[-1:] in YEARS:
        return f"{int(text[:-1]) / YEARS[text[-1]]:g}"
    return text
