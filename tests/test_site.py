"The site in a real browser: every page, from a server and from disk, with no network."
import functools, re, shutil, subprocess, sys, threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urldefrag

import pytest
from conftest import ROOT
from onconet.core import NOTICE

CHROMIUM = next((p for p in map(shutil.which, ('chromium', 'chromium-browser', 'google-chrome', 'chrome')) if p), None)
FLAGS = ['--no-sandbox', '--disable-gpu', '--disable-background-networking']

@pytest.fixture(scope='module')
def site(tmp_path_factory):
    out = tmp_path_factory.mktemp('site')/'_site'
    run = subprocess.run([sys.executable, ROOT/'docs/build_site.py', out], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-4000:]
    assert 'broken link' not in run.stderr, run.stderr
    return out

@pytest.fixture(scope='module')
def pages(site): return sorted(p.relative_to(site).as_posix() for p in site.rglob('*.html'))

@pytest.fixture(scope='module')
def server(site):
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *args): pass
    http = ThreadingHTTPServer(('127.0.0.1', 0), functools.partial(Quiet, directory=site))
    threading.Thread(target=http.serve_forever, daemon=True).start()
    yield f'http://127.0.0.1:{http.server_port}/'
    http.shutdown()

@pytest.fixture(scope='module')
def browser():
    if not CHROMIUM: pytest.skip('no Chromium on this machine')
    from playwright.sync_api import sync_playwright
    with sync_playwright() as p:
        b = p.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield b
        b.close()

def open_page(browser, url, width=1280):
    "A page and all that went wrong while it loaded"
    page,faults = browser.new_page(viewport={'width': width, 'height': 900}),[]
    page.on('console', lambda m: faults.append(f'{m.type}: {m.text}') if m.type in ('error', 'warning') else None)
    page.on('pageerror', lambda e: faults.append(str(e)))
    page.on('requestfailed', lambda r: faults.append(f'failed: {r.url}'))
    page.on('response', lambda r: faults.append(f'{r.status}: {r.url}') if r.status >= 400 else None)
    page.goto(url, wait_until='load')
    return page,faults

def test_one_page_a_notebook(pages):
    from nbdev.config import nbpath2html
    assert {nbpath2html(p).name for p in (ROOT/'nbs').glob('*.ipynb')} <= set(pages)
    assert {p.relative_to(ROOT/'onconet').with_suffix('.html').as_posix() for p in (ROOT/'onconet').rglob('[!_]*.py')} <= {p.removeprefix('source/') for p in pages}

def test_every_page_says_research_use_only(site, pages):
    for p in pages: assert NOTICE in (site/p).read_text(encoding='utf-8'), p

def test_nothing_comes_from_elsewhere(site):
    "No script, style, font or picture from another host"
    away = re.compile(r'<(?:script|link|img|iframe)[^>]+(?:src|href)="(?:https?:)?//|url\(["\']?(?:https?:)?//|@import')
    for p in [*site.rglob('*.html'), *site.rglob('*.css')]: assert not away.findall(p.read_text(encoding='utf-8')), p

def test_links_and_anchors(site, pages):
    ids,broken = {},[]
    for p in pages: ids[p] = set(re.findall(r'\sid="([^"]+)"', (site/p).read_text(encoding='utf-8')))
    for p in pages:
        for href in re.findall(r'<a [^>]*href="([^"]+)"', (site/p).read_text(encoding='utf-8')):
            if re.match(r'[a-z]+:', href): continue
            path,anchor = urldefrag(unquote(href))
            target = ((site/p).parent/path).resolve() if path else site/p
            if target.is_dir(): target /= 'index.html'
            name = target.relative_to(site.resolve()).as_posix() if target.is_relative_to(site.resolve()) else None
            if not target.is_file() or (anchor and name in ids and anchor not in ids[name]): broken.append(f'{p}: {href}')
    assert not broken, '\n'.join(broken)

def test_pages_in_a_browser(browser, server, pages):
    "Each page is opened once, and then made as narrow as a phone"
    faults = []
    for name in pages:
        page,wrong = open_page(browser, server + name)
        text = page.evaluate('document.querySelector("main").innerText')
        code = page.evaluate('[...document.querySelectorAll("main pre, main code")].map(e => e.innerText).join("\\n")')
        prose = page.evaluate('(() => { const m = document.querySelector("main").cloneNode(true); m.querySelectorAll("pre, code, annotation").forEach(e => e.remove()); return m.textContent })()')
        faults += [f'{name}: {w}' for w in wrong]
        faults += [f'{name}: raw {t}' for t in (r'\(', r'\[', '$$') if t in prose]
        faults += [f'{name}: empty'] * (len(text) < 20 and not code)
        for width in (1280, 390):
            page.set_viewport_size(dict(width=width, height=900))
            if page.evaluate('document.documentElement.scrollWidth') > width: faults.append(f'{name}: wider than {width} px')
        faults += [f'{name}: picture not shown: {s[:80]}' for s in page.evaluate('[...document.images].filter(i => !i.naturalWidth).map(i => i.src)')]
        page.close()
    assert not faults, '\n'.join(faults)

@pytest.mark.parametrize('where', ['server', 'disk'])
def test_search_finds_onconet(browser, server, site, where):
    page,faults = open_page(browser, server if where == 'server' else (site/'index.html').as_uri())
    page.locator('input[type=search]').first.fill('OncoNet')
    first = page.locator('.search-result').first
    first.wait_for(timeout=10_000)
    assert 'onconet' in first.inner_text().lower()
    first.click()
    page.wait_for_load_state()
    assert 'OncoNet' in page.title() and not faults, faults
    page.close()

def test_sidebar_follows_the_reading_order(browser, server):
    page,_ = open_page(browser, server)
    links = page.evaluate('[...document.querySelectorAll("#quarto-sidebar a.sidebar-link[href$=html]")].map(a => a.getAttribute("href"))')
    from nbdev.config import nbpath2html
    order = ['index.html', *(nbpath2html(p).name for p in sorted((ROOT/'nbs').glob('[0-9]*.ipynb')))]
    assert [l.removeprefix('./') for l in links] == order
    page.close()
