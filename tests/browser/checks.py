"""What the checks of all pages share. Their arguments: PROGRAM SOURCE_FOLDER WORK_FOLDER."""

import json
import math
import pathlib
import subprocess
import sys

from selenium import webdriver
from selenium.common.exceptions import WebDriverException
from selenium.webdriver.chrome.service import Service

PROGRAM, ROOT, WORK = sys.argv[1], pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3])

passed, failed = 0, []


def check(what, condition, detail=''):
    global passed
    if condition:
        passed += 1
    else:
        failed.append(what)
        print(f'FAILED: {what} {detail}')


def check_equal(what, found, wanted):
    check(what, found == wanted, f'\n  found  {found!r}\n  wanted {wanted!r}')


def check_close(what, found, wanted, part=1e-9):
    check(what, math.isclose(found, wanted, rel_tol=part), f'found {found!r}, wanted {wanted!r}')


HOSTILE = ('</script><script>window.hacked=1</script><img src=x onerror="window.hacked=2">'
           '\'"&amp; é 模型')


def run(*arguments):
    subprocess.run([PROGRAM, *map(str, arguments)], check=True, stdout=subprocess.DEVNULL)


def simulate(job, name, *options):
    out = WORK / name
    run('simulate', job, '--out', out, *options)
    return out


# ---- the browser --------------------------------------------------------------------------------


def browser(width=1280, height=1000, theme='light'):
    options = webdriver.ChromeOptions()
    options.binary_location = '/usr/bin/chromium'
    for argument in ['--headless=new', '--no-sandbox', '--disable-dev-shm-usage', '--disable-gpu',
                     f'--window-size={width},{height}', f'--user-data-dir={WORK}/profile']:
        options.add_argument(argument)
    options.set_capability('goog:loggingPrefs', {'browser': 'ALL', 'performance': 'ALL'})
    driver = webdriver.Chrome(service=Service('/usr/bin/chromedriver'), options=options)
    driver.execute_cdp_cmd('Emulation.setEmulatedMedia', {
        'features': [{'name': 'prefers-color-scheme', 'value': theme}]})
    return driver


def requests_of(driver):
    urls = []
    for entry in driver.get_log('performance'):
        message = json.loads(entry['message'])['message']
        if message['method'] == 'Network.requestWillBeSent':
            urls.append(message['params']['request']['url'])
    return urls


def frames(driver, count=2):
    driver.execute_async_script('''
        const done = arguments[1]; let left = arguments[0];
        (function next() { left-- > 0 ? requestAnimationFrame(next) : done(); })();''', count)


def open_page(driver, path):
    driver.get_log('performance'), driver.get_log('browser')
    driver.get(path.as_uri())
    frames(driver, 4)


def js(driver, script, *arguments):
    return driver.execute_script(script, *arguments)


def check_loads(driver, name, path):
    errors = [entry['message'] for entry in driver.get_log('browser')]
    check_equal(f'{name}: console is quiet', errors, [])
    others = [url for url in requests_of(driver)
              if not url.startswith('data:') and url != path.as_uri()]
    check_equal(f'{name}: nothing else is requested', others, [])


def check_pages(pages, check_page):
    """Opens each of {name: what check_page takes}; returns the exit code."""
    driver = browser()
    try:
        for name, page in pages.items():
            # A page that is broken altogether lacks what the checks look for.
            try:
                check_page(driver, name, page)
            except WebDriverException as error:
                check(f'{name}: the page can be used', False, error.msg)
    finally:
        driver.quit()
    print(f'{passed} passed, {len(failed)} failed')
    return 1 if failed else 0


def check_theme(driver, name):
    """The button switches the page, and marks keep apart from the paper."""
    paper = "return getComputedStyle(document.querySelector('section')).backgroundColor"
    check_equal(f'{name}: light when the system is', js(driver, paper), 'rgb(255, 255, 255)')
    js(driver, 'document.getElementById("theme").click()')
    frames(driver, 3)
    check_equal(f'{name}: dark after the button', js(driver, paper), 'rgb(23, 27, 33)')
    js(driver, 'document.getElementById("theme").click()')
    frames(driver, 3)
