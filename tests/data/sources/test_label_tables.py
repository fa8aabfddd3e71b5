import pytest

from kedro_dcgan.datasets import ImageSourceDataset
from kedro_dcgan.errors import SourceError


def read(folder, *lines):
    (folder / "labels.csv").write_text("\n".join([*lines, ""]))
    return ImageSourceDataset(folder).load().labels("labels.csv")


def refused(paths, labels):
    with pytest.raises(SourceError, match=r"^`ingestion.labels` [^\n]*$") as raised:
        labels.of(paths)
    return str(raised.value)


@pytest.mark.parametrize(
    "columns", ["path,label", "label,path", "filename,class", "image_id,target", "note,label,path"]
)
def test_labels_are_found_by_path(tmp_path, columns):
    values = {"path": "a/x.png", "label": "cat", "note": "n"}
    names = {"filename": "path", "class": "label", "image_id": "path", "target": "label"}
    line = ",".join(values[names.get(column, column)] for column in columns.split(","))
    labels = read(tmp_path, columns, line)
    assert labels.of(["a/x.png", "b/x.png", "x.png"]) == ["cat", None, None]


def test_bare_file_names_are_found_in_any_folder(tmp_path):
    labels = read(tmp_path, "path,label", "x.png, cat ", " ./y.png,dog")
    assert labels.of(["images/train/x.png", "b/y.png", "images/z.png"]) == ["cat", "dog", None]
    assert labels.of([]) == []


def test_a_bare_name_of_two_files_is_refused(tmp_path):
    labels = read(tmp_path, "path,label", "x.png,cat", "y.png,dog")
    message = refused(["a/x.png", "a/z.png", "b/z.png", "b/x.png"], labels)
    assert "a/x.png" in message
    assert "b/x.png" in message
    # With folders, names may repeat.
    assert read(tmp_path, "path,label", "a/x.png,cat").of(["a/x.png", "b/x.png"]) == ["cat", None]


@pytest.mark.parametrize("lines", [["pictures/x.png,cat"], ["x.jpg,cat"], []])
def test_a_table_of_other_images_is_refused(tmp_path, lines):
    message = refused(["a/x.png", "b/y.png"], read(tmp_path, "path,label", *lines))
    assert "a/x.png" in message


def test_the_right_name_of_a_column_wins(tmp_path):
    labels = read(tmp_path, "image_id,path,class,label", "7,x.png,3,cat")
    assert labels.of(["x.png", "7"]) == ["cat", None]


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        (["path,text", "x.png,cat"], "no column label"),
        (["label"], "no column path"),
        (["path,label", "x.png,cat", "x.png,dog"], "line 3 is a second label for x.png"),
        (["path,label", "x.png,cat", " ./x.png,dog"], "line 3 is a second label for x.png"),
        (["path,label", "x.png, "], "line 2 has no label"),
        (["path,label", "x.png"], "line 2 has no label"),
        (["path,label", 'x.png,"ca\nt"'], "line 3 has a label with a line break"),
        (["path,label", ",cat"], "line 2 has no path"),
        (["path,label", "a,b.png,cat"], "line 2 has more cells"),
        ([], "no column path, label"),
    ],
)
def test_bad_tables_are_refused_in_one_line(tmp_path, lines, problem):
    with pytest.raises(SourceError, match=rf"^`ingestion.labels` must be [^\n]*labels.csv: [^\n]*{problem}[^\n]*$"):
        read(tmp_path, *lines)


def test_missing_table_is_refused(tmp_path):
    with pytest.raises(SourceError, match=r"`ingestion\.labels`.*nowhere\.csv"):
        ImageSourceDataset(tmp_path).load().labels("nowhere.csv")
