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
    'NbConvertBase': {'display_data_priority': ['text/markdown', 'image/svg+xml', 'image/png', 'text/html', 'text/plain']},
    'TagRemovePreprocessor': {'remove_input_tags': {'no-echo'}}})

def shown(cell):
    "Whether a cell is for readers; its directives become tags"
    has = lambda what: re.search(rf'^#\|\s*{what}', cell.source, re.M)
    if has(r'(hide|export\w*|default_exp)\b') or has(r'include:\s*false'): return False
    if has(r'echo:\s*false'): cell.metadata['tags'] = ['no-echo']
    if cell.cell_type == 'code': cell.source = re.sub(r'^#\|.*\n?', '', cell.source, flags=re.M)
    return bool(cell.source.strip())

def readme(root=ROOT):
    "The text of README.md and the figures it shows, by path below nbs/"
    nb = nbformat.read(root/'nbs/index.ipynb', 4)
    nb.metadata['language_info'] = {'name': 'python'}
    nb.cells = [c for c in nb.cells if shown(c)]
    text,resources = MarkdownExporter(config=CONFIG).from_notebook_node(nb)
    text = re.sub(r'(?<=\]\()(?=images/|[\w.]+\.ipynb)|(?<=src=")(?=images/)', 'nbs/', text)
    text = re.sub(r'<style scoped>.*?</style>\n', '', text, flags=re.S)
    return re.sub(r'\n\s*\n\s*\n', '\n\n', re.sub(r'^[ \t]+$', '', text, flags=re.M)).strip() + '\n', resources.get('outputs', {})

if __name__ == '__main__':
    text,figures = readme()
    for name,data in figures.items(): (ROOT/'nbs'/name).write_bytes(data)
    (ROOT/'README.md').write_text(text, encoding='utf-8')
