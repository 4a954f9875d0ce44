"""OAUTHBEARER by libpq 18: oauth.py TOKEN CONNINFO SQL. libpq gets its token from a hook, as an application's own
flow gives it; the exchange with the server is libpq's."""

import ctypes
import glob
import os
import sys

import psycopg
import psycopg_binary

assert psycopg.pq.version() >= 180000, psycopg.pq.version()
TOKEN, conninfo, sql = sys.argv[1].encode(), *sys.argv[2:]
folder = os.path.dirname(psycopg_binary.__file__) + ".libs"
libpq = ctypes.CDLL(glob.glob(folder + "/libpq-*.so*")[0])


class Request(ctypes.Structure):
    _fields_ = [
        ("openid_configuration", ctypes.c_char_p),
        ("scope", ctypes.c_char_p),
        ("start", ctypes.c_void_p),
        ("cleanup", ctypes.c_void_p),
        ("token", ctypes.c_char_p),
        ("user", ctypes.c_void_p),
    ]


BEARER_TOKEN = 1


@ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
def hook(kind, connection, data):
    if kind != BEARER_TOKEN:
        return 0
    request = ctypes.cast(data, ctypes.POINTER(Request)).contents
    print((request.openid_configuration or b"-").decode(), (request.scope or b"-").decode())
    request.token = TOKEN
    return 1


libpq.PQsetAuthDataHook(hook)
with psycopg.connect(conninfo) as connection:
    print(connection.execute(sql).fetchone()[0])
