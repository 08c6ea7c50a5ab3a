vcl 4.1;

backend target { .host = "127.0.0.1"; .port = "@{target}"; }

sub vcl_recv {
    # By default it passes whatever has a cookie, as every request of a browser has.
    return (hash);
}

sub vcl_backend_response {
    set beresp.ttl = 1h;
}
