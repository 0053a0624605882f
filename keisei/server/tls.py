"""HTTPS: the certificate of ``keisei serve`` and its private key."""

import ssl

from keisei.config import Server


class TlsError(OSError):
    """The certificate or its key cannot be used. The message names the setting and the problem."""


def tls_context(settings: Server) -> ssl.SSLContext | None:
    """Return the context for HTTPS; None for plain HTTP. Blocks: reads files. Raises TlsError."""
    if not settings.tls_certificate:
        if settings.tls_key:
            raise TlsError("server.tls_key: set server.tls_certificate too")
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    files = " and ".join(filter(None, [settings.tls_certificate, settings.tls_key]))
    try:
        # Without this argument, OpenSSL would ask on the terminal for the password of the key.
        context.load_cert_chain(
            settings.tls_certificate, settings.tls_key or None, password=lambda: ""
        )
    except OSError as error:
        raise TlsError(f"server.tls_certificate: {files}: {_why(error)}") from None
    return context


def _why(error: OSError) -> str:
    if not isinstance(error, ssl.SSLError):
        return str(error.strerror)
    return f"not a PEM certificate with its private key without a password ({error.reason})"
