"Hands settings.ini to setuptools. `data/` travels in the wheel as the package `onconet.embedded`."
from configparser import ConfigParser
from pathlib import Path
from setuptools import find_packages, setup

ini = ConfigParser(delimiters='=', interpolation=None)
ini.read(Path(__file__).with_name('settings.ini'), encoding='utf-8')
cfg = ini['DEFAULT']
lines = lambda key: cfg[key].split('\n')[1:]
name = cfg['name']

setup(name=name, version=cfg['version'], description=cfg['description'], author=cfg['author'], license_expression=cfg['license'],
    keywords=cfg['keywords'].split(), classifiers=lines('classifiers'),
    long_description=Path(__file__).with_name('README.md').read_text(encoding='utf-8'), long_description_content_type='text/markdown',
    packages=[*find_packages(include=[name, f'{name}.*']), f'{name}.embedded'],
    package_dir={f'{name}.embedded': 'data'}, package_data={f'{name}.embedded': ['*','*/*']},
    install_requires=lines('requirements'), extras_require={k.removesuffix('_requirements'): lines(k) for k in cfg if k.endswith('_requirements')},
    entry_points={'console_scripts': [cfg['console_scripts']], 'nbdev': [f'{name}={name}._modidx:d']})
