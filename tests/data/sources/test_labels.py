import pytest

from kedro_dcgan.datasets import ImageSourceDataset
from kedro_dcgan.errors import SourceError


def read(folder, *lines):
    (folder / "labels.csv").write_text("\n".join([*lines, ""]))
    return ImageSourceDataset(folder).load().labels("labels.csv")


@pytest.mark.parametrize(
    "columns", ["path,label", "label,path", "filename,class", "image_id,target", "note,label,path"]
)
def test_labels_are_found_by_path(tmp_path, columns):
    values = {"path": "a/x.png", "label": "cat", "note": "n"}
    names = {"filename": "path", "class": "label", "image_id": "path", "target": "label"}
    line = ",".join(values[names.get(column, column)] for column in columns.split(","))
    labels = read(tmp_path, columns, line)
    assert labels.find("a/x.png") == "cat"
    assert labels.find("b/x.png") is None
    assert labels.find("x.png") is None


def test_bare_file_names_are_found_in_any_folder(tmp_path):
    labels = read(tmp_path, "path,label", "x.png, cat ", "y.png,dog")
    assert labels.find("images/train/x.png") == labels.find("x.png") == "cat"
    assert labels.find("images/z.png") is None


def test_the_right_name_of_a_column_wins(tmp_path):
    labels = read(tmp_path, "image_id,path,class,label", "7,x.png,3,cat")
    assert labels.find("x.png") == "cat"
    assert labels.find("7") is None


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        (["path,text", "x.png,cat"], "no column label"),
        (["label"], "no column path"),
        (["path,label", "x.png,cat", "x.png,dog"], "line 3 is a second label for x.png"),
        (["path,label", "x.png, "], "line 2 has no label"),
        (["path,label", "x.png"], "line 2 has no label"),
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
