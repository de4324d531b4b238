#!/usr/bin/perl
# The echo server of the image fairlead.dev/echo:1. It tells which Pod answered, over each protocol a Service carries:
#
#   7/udp     every datagram comes back as "POD DATAGRAM"
#   7/tcp     every line comes back as "POD LINE"
#   8080/tcp  HTTP/1.1: the request comes back as text, with the Pod's name in the header X-Pod and in the first line;
#             ?delay=MS answers that much later (at most a minute), ?status=CODE answers with that status
#
# On SIGTERM it stops accepting, finishes the requests it has begun (at most GRACE_SECONDS, default 20) and exits with 0.
# One process, one loop on select(2): connections beyond CONNECTIONS_MAX wait in the kernel's queue.
use strict;
use warnings;
use IO::Socket::IP;
use IO::Select;
use Errno qw(EAGAIN EWOULDBLOCK EINTR);
use Socket qw(SOCK_STREAM SOCK_DGRAM SOMAXCONN);
use POSIX ();

# Seconds on a clock that never steps back, in hundredths: perl-base has no Time::HiRes.
my $TICKS = POSIX::sysconf(POSIX::_SC_CLK_TCK());
sub now { return (POSIX::times())[0] / $TICKS }

my $CONNECTIONS_MAX  = 900;             # select(2) knows descriptors up to 1023
my $HEAD_BYTES_MAX   = 64 * 1024;
my $BODY_BYTES_MAX   = 1024 * 1024;
my $OUTPUT_BYTES_MAX = 4 * 1024 * 1024; # a peer that does not read is not read from either
my $DELAY_MS_MAX     = 60_000;
my $FIRST_BYTE_SECONDS = 1;             # while stopping: how long a connection may still send its first request

my $pod   = $ENV{POD_NAME} || $ENV{HOSTNAME} || (POSIX::uname())[1];
my $grace = $ENV{GRACE_SECONDS} // 20;
my %reasons = (200 => 'OK', 204 => 'No Content', 400 => 'Bad Request', 404 => 'Not Found', 413 => 'Content Too Large',
    431 => 'Request Header Fields Too Large', 500 => 'Internal Server Error', 501 => 'Not Implemented',
    503 => 'Service Unavailable');

$| = 1;
$SIG{PIPE} = 'IGNORE';
my $stop_at;
$SIG{TERM} = $SIG{INT} = sub { $stop_at //= now() };

my $udp  = open_socket(SOCK_DGRAM,  $ENV{LISTEN_ECHO} // 7);
my $tcp  = open_socket(SOCK_STREAM, $ENV{LISTEN_ECHO} // 7);
my $http = open_socket(SOCK_STREAM, $ENV{LISTEN_HTTP} // 8080);
my @listeners = ($tcp, $http);
my %connections; # file number => { socket, kind, in, out, due, answer, ending, served, since }
print "echo: $pod serves ", $udp->sockport, "/udp, ", $tcp->sockport, "/tcp and ", $http->sockport, "/http\n";

while (1) {
    begin_stop() if defined $stop_at && @listeners;
    if (defined $stop_at) {
        last if !%connections;
        if (now() - $stop_at > $grace) { print "echo: ", scalar(keys %connections), " connections cut off\n"; last }
    }
    one_round();
}
print "echo: stopped\n";
exit 0;

sub one_round {
    my ($readers, $writers, $wait) = (IO::Select->new($udp), IO::Select->new, 3600);
    $readers->add(@listeners) if keys %connections < $CONNECTIONS_MAX;
    my $now = now();
    for my $connection (values %connections) {
        $writers->add($connection->{socket}) if $connection->{out} ne '';
        $readers->add($connection->{socket}) if !$connection->{ending} && length $connection->{out} < $OUTPUT_BYTES_MAX
            && !defined $connection->{due};
        $wait = min($wait, $connection->{due} - $now) if defined $connection->{due};
    }
    $wait = min($wait, 0.1) if defined $stop_at;
    $wait = 0 if $wait < 0;
    my ($readable, $writable) = IO::Select::select($readers, $writers, undef, $wait);
    for my $socket (@{ $readable // [] }) {
        if    ($socket == $udp)                          { answer_datagrams() }
        elsif (grep { $_ == $socket } @listeners)        { accept_all($socket) }
        elsif (my $connection = $connections{ fileno($socket) // -1 }) { read_from($connection) }
    }
    for my $socket (@{ $writable // [] }) {
        my $connection = $connections{ fileno($socket) // -1 };
        write_to($connection) if $connection;
    }
    $now = now();
    for my $connection (values %connections) {
        if (defined $connection->{due} && $connection->{due} <= $now) {
            $connection->{out} .= $connection->{answer};
            delete @{$connection}{qw(due answer)};
            serve($connection);
        }
        finish($connection) if may_close($connection, $now);
    }
}

sub begin_stop {
    print "echo: stopping\n";
    accept_all($_) for @listeners; # those in the queue were promised an answer
    close $_ for @listeners;
    @listeners = ();
    $_->{ending} ||= $_->{kind} eq 'line' for values %connections;
}

sub may_close {
    my ($connection, $now) = @_;
    return 0 if $connection->{out} ne '' || defined $connection->{due};
    return 1 if $connection->{ending};
    return 0 if !defined $stop_at || $connection->{in} ne '';
    return $connection->{served} || $now - $connection->{since} > $FIRST_BYTE_SECONDS;
}

sub accept_all {
    my ($listener) = @_;
    while (keys %connections < $CONNECTIONS_MAX && (my $socket = $listener->accept)) {
        $socket->blocking(0);
        my $kind = $listener == $http ? 'http' : 'line';
        $connections{ fileno $socket } = { socket => $socket, kind => $kind, in => '', out => '', ending => 0,
            served => 0, since => now() };
    }
}

sub finish {
    my ($connection) = @_;
    delete $connections{ fileno $connection->{socket} };
    close $connection->{socket};
}

sub read_from {
    my ($connection) = @_;
    my $count = sysread $connection->{socket}, $connection->{in}, 65536, length $connection->{in};
    return if !defined $count && ($!{EAGAIN} || $!{EWOULDBLOCK} || $!{EINTR});
    return finish($connection) if !defined $count;
    $connection->{ending} = 1 if $count == 0; # what is buffered is still answered
    serve($connection);
}

sub write_to {
    my ($connection) = @_;
    my $count = syswrite $connection->{socket}, $connection->{out};
    if (defined $count) { substr($connection->{out}, 0, $count) = '' }
    elsif (!$!{EAGAIN} && !$!{EWOULDBLOCK} && !$!{EINTR}) { finish($connection) }
}

sub serve {
    my ($connection) = @_;
    if ($connection->{kind} eq 'line') {
        while ($connection->{in} =~ s/\A([^\n]*\n)//) { $connection->{out} .= "$pod $1" }
        if (length $connection->{in} > $HEAD_BYTES_MAX || ($connection->{ending} && $connection->{in} ne '')) {
            $connection->{out} .= "$pod $connection->{in}";
            $connection->{in} = '';
        }
        return;
    }
    1 while !defined $connection->{due} && !$connection->{closing} && serve_request($connection);
}

# Takes one whole request off the input; false if there is none yet.
sub serve_request {
    my ($connection) = @_;
    my $end = index $connection->{in}, "\r\n\r\n";
    if ($end < 0) {
        refuse($connection, 431) if length $connection->{in} > $HEAD_BYTES_MAX;
        return 0;
    }
    my ($line, @fields) = split /\r\n/, substr($connection->{in}, 0, $end);
    my ($method, $target, $version) = ($line // '') =~ m{\A(\S+) (\S+) (HTTP/1\.[01])\z} or return refuse($connection, 400);
    my %header;
    for my $field (@fields) {
        my ($name, $value) = $field =~ /\A([^:\s]+):[ \t]*(.*?)[ \t]*\z/ or return refuse($connection, 400);
        $header{ lc $name } = defined $header{ lc $name } ? "$header{lc $name}, $value" : $value;
    }
    if (lc($header{expect} // '') eq '100-continue' && !$connection->{continued}) {
        $connection->{out} .= "HTTP/1.1 100 Continue\r\n\r\n";
        $connection->{continued} = 1;
    }
    my ($body, $length);
    if (lc($header{'transfer-encoding'} // '') eq 'chunked') {
        ($body, $length) = chunked_body($connection->{in}, $end + 4);
        return refuse($connection, 413) if length $connection->{in} > $end + 2 * $BODY_BYTES_MAX;
    } else {
        my $declared = $header{'content-length'} // 0;
        return refuse($connection, 400) if $declared !~ /\A[0-9]{1,15}\z/;
        return refuse($connection, 413) if $declared > $BODY_BYTES_MAX;
        ($body, $length) = (substr($connection->{in}, $end + 4, $declared), $declared);
        $length = undef if length $body < $declared;
    }
    return 0 if !defined $length;
    substr($connection->{in}, 0, $end + 4 + $length) = '';
    $connection->{continued} = 0;
    answer_request($connection, $method, $target, $version, \%header, $body);
    return 1;
}

# The decoded body and how many raw bytes it took; nothing while it is not complete.
sub chunked_body {
    my ($raw, $start) = @_;
    my ($at, $body) = ($start, '');
    while (substr($raw, $at) =~ /\A([0-9a-fA-F]{1,8})[^\r\n]*\r\n/) {
        my ($size, $head) = (hex $1, length $&);
        if ($size == 0) {
            my $end = index $raw, "\r\n\r\n", $at + $head - 2;
            return $end < 0 ? () : ($body, $end + 4 - $start);
        }
        return () if length $raw < $at + $head + $size + 2;
        $body .= substr $raw, $at + $head, $size;
        $at += $head + $size + 2;
    }
    return ();
}

sub answer_request {
    my ($connection, $method, $target, $version, $header, $body) = @_;
    my ($path, $query) = split /\?/, $target, 2;
    my %query = map { my ($name, $value) = split /=/, $_, 2; ($name => $value // '') } split /&/, $query // '';
    my $status = ($query{status} // '') =~ /\A([2-5][0-9]{2})\z/ ? $1 : 200;
    my $peer = ($connection->{socket}->peerhost // 'gone') . ' ' . ($connection->{socket}->peerport // '');
    $peer =~ s/\A::ffff://; # an IPv4 peer of a socket that serves both families
    my $text = "pod: $pod\nrequest: $method $target $version\npeer: $peer\n";
    $text .= "$_: $header->{$_}\n" for sort keys %$header;
    $text .= "\n$body" if $body ne '';
    my $options = lc($header->{connection} // '');
    my $keep = !defined $stop_at && $options !~ /\bclose\b/ && ($version eq 'HTTP/1.1' || $options =~ /\bkeep-alive\b/);
    my $answer = render($status, $text, $keep, $method eq 'HEAD');
    $connection->{served} = 1;
    $connection->{closing} = $connection->{ending} = 1 if !$keep;
    if (($query{delay} // '') =~ /\A([0-9]{1,6})\z/) {
        $connection->{due} = now() + min($1, $DELAY_MS_MAX) / 1000;
        $connection->{answer} = $answer;
    } else {
        $connection->{out} .= $answer;
    }
}

sub refuse {
    my ($connection, $status) = @_;
    $connection->{out} .= render($status, "pod: $pod\n", 0, 0);
    $connection->{in} = '';
    $connection->{closing} = $connection->{ending} = 1;
    return 0;
}

sub render {
    my ($status, $text, $keep, $headOnly) = @_;
    my $bodiless = $status == 204 || $status == 304;
    my $head = "HTTP/1.1 $status " . ($reasons{$status} // 'Status') . "\r\nX-Pod: $pod\r\n"
        . "Content-Type: text/plain; charset=utf-8\r\nConnection: " . ($keep ? 'keep-alive' : 'close') . "\r\n";
    $head .= 'Content-Length: ' . length($text) . "\r\n" if !$bodiless;
    return "$head\r\n" . ($headOnly || $bodiless ? '' : $text);
}

sub answer_datagrams {
    for (1 .. 256) { # then the others have their turn
        my $peer = recv $udp, my $datagram, 65535, 0;
        return if !defined $peer;
        send $udp, "$pod $datagram", 0, $peer;
    }
}

sub open_socket {
    my ($type, $port) = @_;
    my @listen = $type == SOCK_STREAM ? (Listen => SOMAXCONN) : ();
    for my $host ('::', '0.0.0.0') { # a kernel without IPv6 still serves IPv4
        my $socket = IO::Socket::IP->new(LocalHost => $host, LocalPort => $port, Type => $type, ReuseAddr => 1,
            V6Only => 0, Blocking => 0, @listen);
        return $socket if $socket;
    }
    die "echo: cannot listen on port $port: $@\n";
}

sub min { return $_[0] < $_[1] ? $_[0] : $_[1] }
