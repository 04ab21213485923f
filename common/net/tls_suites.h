/* tls_suites.h - what TLS is spoken here, by servers and clients alike. Private to common/net.
 *
 * TLS 1.2 with ephemeral keys and AEAD, or TLS 1.3, all of whose suites are that (OpenSSL's default
 * list of them stays).
 */
#pragma once

#define FL_TLS12_CIPHERS "ECDHE+AESGCM:ECDHE+CHACHA20"
