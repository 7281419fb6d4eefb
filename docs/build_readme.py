"""Makes README.md from nbs/index.ipynb: hidden cells left out, links led to the notebooks, figures saved in nbs/images.

    python docs/build_readme.py
"""
import re
from pathlib import Path

import nbformat
from nbconvert import MarkdownExporter
from traitlets.config import Config

ROOT = Path(__file__).resolve().parents[1]
CONFIG = Config({
    'ExtractOutputPreprocessor': {'output_filename_template': 'images/readme_{cell_index}_{index}{extension}'},
    'NbConvertBase': {'display_data_priority': ['text/markdown', 'image/svg+xml', 'image/png', 'text/html', 'text/plain']}})

def shown(cell):
    "Whether a cell is for readers, and the cell without its directives"
    if re.search(r'^#\|\s*(hide|export\w*|default_exp)\b', cell.source, re.M): return False
    if cell.cell_type == 'code': cell.source = re.sub(r'^#\|.*\n?', '', cell.source, flags=re.M)
    return bool(cell.source.strip())

def readme(root=ROOT):
    "The text of README.md and the figures it shows, by path below nbs/"
    nb = nbformat.read(root/'nbs/index.ipynb', 4)
    nb.metadata['language_info'] = {'name': 'python'}
    nb.cells = [c for c in nb.cells if shown(c)]
    text,resources = MarkdownExporter(config=CONFIG).from_notebook_node(nb)
    text = re.sub(r'(?<=\]\()(?=images/|[\w.]+\.ipynb)', 'nbs/', text)
    text = re.sub(r'(?<=src=")(?=images/)', 'nbs/', text)
    return re.sub(r'\n{3,}', '\n\n', text).strip() + '\n', resources.get('outputs', {})

if __name__ == '__main__':
    text,figures = readme()
    for name,data in figures.items(): (ROOT/'nbs'/name).write_bytes(data)
    (ROOT/'README.md').write_text(text, encoding='utf-8')
