"""Write the documentation of the parameters, in the project folder: `python -m kedro_dcgan.config`."""

from pathlib import Path

from kedro_dcgan.config.documentation import generated_files

for file, text in generated_files(Path.cwd()).items():
    if not file.exists() or file.read_text(encoding="utf-8") != text:
        file.write_text(text, encoding="utf-8")
        print(f"wrote {file.relative_to(Path.cwd())}")
