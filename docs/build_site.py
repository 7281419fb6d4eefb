"""Builds the site: nbdev prepares the notebooks, Quarto or smalldocs renders them, pandoc turns formulas into MathML.

    python docs/build_site.py [OUT]        default _site
"""
import html, os, re, shutil, subprocess, sys, tempfile
from pathlib import Path

import yaml
from fastcore.nbio import read_nb, write_nb
from nbdev.config import nbpath2html
from nbdev.processors import FilterDefaults
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

ROOT = Path(__file__).resolve().parents[1]
SECTIONS = 'Foundation', 'Data', 'Mathematics', 'Models', 'Training', 'Decisions', 'Use', 'Results'

def page(path): return nbpath2html(path).name

def mend(text):
    "Links of notebooks and of nbdev, as pages of this site"
    text = re.sub(r'\]\(/?blob/main/onconet/([\w/]+)\.py#L(\d+|None)\)(\{[^}]*\})?', r'](source/\1.html#L-\2){.source-link}', text)
    return re.sub(r'(?<=\]\()([\w.]+)\.ipynb', lambda m: page(m[0]), text)

def stage_notebook(path, stage):
    "One notebook as nbdev documents it, under the name of its page"
    os.environ['IN_TEST'] = '1'
    nb = read_nb(path)
    FilterDefaults()(nb)
    for cell in nb.cells:
        if cell.cell_type == 'markdown': cell.source = mend(cell.source)
        if cell.cell_type == 'raw': cell.source = re.sub(r'^output-file: .*\n', '', cell.source, flags=re.M)
        for out in cell.get('outputs', []):
            md = out.get('data', {}).get('text/markdown')
            if md: out['data']['text/markdown'] = mend(''.join(md))
    write_nb(nb, (stage/page(path)).with_suffix('.ipynb'))

def stage_source(path, stage):
    "One exported module as a page, each line with an anchor"
    mod = path.relative_to(ROOT/'onconet').with_suffix('')
    code = highlight(path.read_text(encoding='utf-8'), PythonLexer(), HtmlFormatter(linespans='L', cssclass='source'))
    name = '.'.join(('onconet', *mod.parts))
    dest = stage/'source'/mod.with_suffix('.qmd')
    dest.parent.mkdir(parents=True, exist_ok=True)
    dest.write_text(f'---\ntitle: "{name}"\nsearch: false\ntoc: false\n---\n\n```{{=html}}\n{code}\n```\n', encoding='utf-8')

def sidebar(notebooks):
    "The reading order: one section a decade"
    names = [(p.name[0], (page(p)).replace('.html', '.ipynb')) for p in notebooks if p.name[0].isdigit()]
    parts = [{'section': s, 'contents': [n for d,n in names if d == str(i)]} for i,s in enumerate(SECTIONS)]
    return {'website': {'sidebar': {'contents': ['index.ipynb', *(p for p in parts if p['contents'])]}}}

def render(stage):
    "Quarto where it is installed, else smalldocs"
    if shutil.which('quarto'): subprocess.run(['quarto', 'render', stage, '--no-execute'], check=True)
    else:
        import smalldocs.site
        for w in smalldocs.site.build(stage, quiet=True).warnings:
            if 'html-math-method' not in w: print('smalldocs:', w, file=sys.stderr)

def mathml(pages):
    "TeX of all pages to MathML, and no script from elsewhere"
    import pypandoc
    span = re.compile(r'<span class="math (inline|display)">\\[(\[](.*?)\\[)\]]</span>', re.S)
    texts = {p: p.read_text(encoding='utf-8') for p in pages}
    found = sorted({m.groups() for t in texts.values() for m in span.finditer(t)})
    if not found: return
    src = '\n\n'.join(('$$%s$$' if kind == 'display' else '$%s$') % html.unescape(tex).strip() for kind,tex in found)
    done = re.findall(r'<math.*?</math>', pypandoc.convert_text(src, 'html', 'markdown', extra_args=['--mathml', '--wrap=none']), re.S)
    if len(done) != len(found): raise SystemExit(f'{len(found)} formulas, of which pandoc read {len(done)}')
    made = dict(zip(found, done))
    for p,t in texts.items():
        t = span.sub(lambda m: made[m.groups()], t)
        p.write_text(re.sub(r'<(?:link|script)[^>]*katex[^>]*>(?:</script>)?', '', t), encoding='utf-8')

def search_from_disk(out):
    "A search that needs no server: browsers fetch no JSON for a page opened from disk, but they run a script"
    js,index = out/'site_libs/smalldocs.js',out/'search.json'
    if not js.exists(): return
    fetch = 'const r = await fetch(offset + "search.json");\n      index = await r.json();'
    load = ('await new Promise((ok, no) => document.head.append(Object.assign(document.createElement("script"),\n'
            '        { src: offset + "search.js", onload: ok, onerror: no })));\n      index = window.searchIndex;')
    code = js.read_text(encoding='utf-8')
    if fetch not in code: raise SystemExit('smalldocs changed how it loads its search index; mend search_from_disk')
    js.write_text(code.replace(fetch, load), encoding='utf-8')
    (out/'search.js').write_text(f'window.searchIndex = {index.read_text(encoding="utf-8")};\n', encoding='utf-8')

def build(out=ROOT/'_site'):
    "The whole site in `out`"
    out,notebooks = Path(out).resolve(),sorted((ROOT/'nbs').glob('*.ipynb'))
    with tempfile.TemporaryDirectory() as tmp:
        stage = Path(tmp).resolve()
        shutil.copy(ROOT/'_quarto.yml', stage)
        shutil.copytree(ROOT/'nbs/images', stage/'images')
        css = HtmlFormatter().get_style_defs('.source')
        (stage/'styles.css').write_text((ROOT/'nbs/styles.css').read_text(encoding='utf-8') + css, encoding='utf-8')
        (stage/'sidebar.yml').write_text(yaml.safe_dump(sidebar(notebooks), sort_keys=False), encoding='utf-8')
        os.chdir(ROOT/'nbs')
        for p in notebooks: stage_notebook(p, stage)
        for p in sorted((ROOT/'onconet').rglob('[!_]*.py')): stage_source(p, stage)
        render(stage)
        site = stage/'_site'
        mathml(sorted(site.rglob('*.html')))
        search_from_disk(site)
        shutil.rmtree(out, ignore_errors=True)
        shutil.copytree(site, out)
    print(f'{len(list(out.rglob("*.html")))} pages in {out}')

if __name__ == '__main__': build(*sys.argv[1:])
