<?php
// Verifies a delivery of pms-emitter (Standard Webhooks 1.0), with nothing but PHP's own functions.
//
// As a program: php verify.php SECRET ID TIMESTAMP SIGNATURES < body, which ends with 0 when the delivery is authentic.

const TOLERANCE_SECONDS = 300;

function key_of(string $secret): string|false
{
    return str_starts_with($secret, 'whsec_') ? base64_decode(substr($secret, 6), true) : $secret;
}

// $body: the raw bytes, as file_get_contents('php://input') has them. The headers are webhook-id, webhook-timestamp and
// webhook-signature.
function verify(string $secret, string $id, string $timestamp, string $signatures, string $body, int $now): bool
{
    $key = key_of($secret);
    if ($key === false || !preg_match('/\A[0-9]{1,12}\z/', $timestamp) || abs($now - (int) $timestamp) > TOLERANCE_SECONDS) {
        return false;
    }
    $expected = 'v1,' . base64_encode(hash_hmac('sha256', "$id.$timestamp.$body", $key, true));
    // Several signatures stand there while a secret is replaced: any of them will do.
    foreach (explode(' ', $signatures) as $one) {
        if (hash_equals($expected, $one)) {
            return true;
        }
    }
    return false;
}

if (PHP_SAPI === 'cli' && realpath($argv[0]) === __FILE__) {
    [, $secret, $id, $timestamp, $signatures] = $argv;
    exit(verify($secret, $id, $timestamp, $signatures, stream_get_contents(STDIN), time()) ? 0 : 1);
}
