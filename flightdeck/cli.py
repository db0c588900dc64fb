import os
import click
from flightdeck import stack, launch

@click.group()
def main():
    os.environ |= launch.common()

@main.command()
def up():
    import time
    t=time.time()
    last=[""]
    def p(m):
        if m!=last[0]:
            print(f"{time.time()-t:6.1f} {m}", flush=True); last[0]=m
    stack.up(p)
    print(time.time()-t)

@main.command()
def down():
    print(stack.down())
