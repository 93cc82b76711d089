"""Attacks that have worked against mail and file servers, class by class, and the test that shows each.

Some need a real process and real sockets and are in this package; most are shown where the code is. A test
checks that every test named here exists.

Mail (a class number of the survey, what it is, where it is shown):

 1  smuggling into us: smtp.test_hostile.SmugglingTests.test_no_second_message,
    smtp.test_data.ScannerTests.test_every_combination
 2  smuggling by us: hostile.test_smuggling.OutboundTests.test_outbound,
    hostile.test_sent_on.SubmittedTests.test_append, hostile.test_sent_on.SubmittedTests.test_import,
    hostile.test_sent_on.ChunkTests.test_submitted, hostile.test_sent_on.ChunkTests.test_binary,
    smtp.test_client_session.DotStufferTests.test_smuggling
 3  commands behind STARTTLS: hostile.test_crossing.CrossingTests.test_starttls_injection,
    wire.test_connection.Encryption.test_injection, hostile.test_imap.IMAPTests.test_starttls
 4  answers behind STARTTLS: hostile.test_crossing.CrossingTests.test_response_injection,
    smtp.test_client.TLSTests.test_injection
 5  a session fixed across STARTTLS: hostile.test_crossing.CrossingTests.test_session_fixation,
    smtp.test_session.StateTests.test_starttls_forgets
 6  states after errors: smtp.test_hostile.StateTests.test_random_dialogues
 7  SASL identities: hostile.test_crossing.CrossingTests.test_aborted_logins,
    smtp.test_hostile.InjectionTests.test_authorization_identity, accounts.test_sasl.PlainTests.test_anything
 8  aborted logins: hostile.test_crossing.CrossingTests.test_aborted_logins,
    pop3.test_server.TLSTests.test_aborted_exchanges, hostile.test_imap.IMAPTests.test_aborted_logins
 9  memory before a login: hostile.test_floods.FloodTests.test_line_without_an_end,
    hostile.test_floods.FloodTests.test_thousand_in_the_middle,
    hostile.test_floods.FloodTests.test_many_commands_never_read
 10 very many small things: hostile.test_floods.FloodTests.test_many_commands,
    hostile.test_imap.IMAPTests.test_literals
 11 MIME bombs: hostile.test_bombs.BombTests.test_bombs, smtp.test_strangers.LimitTests.test_depth,
    intake.test_inspected.SinkTests.test_any_message_cut_anywhere,
    message.test_index.BoundTests.test_depth_and_parts
 12 header bombs: hostile.test_bombs.BombTests.test_bombs,
    message.test_address_list.AddressListTests.test_most
 13 quadratic time: message.test_index.BoundTests.test_time_is_linear,
    message.test_fields.FieldTests.test_time_is_linear
 14 odd addresses: hostile.test_smuggling.OutboundTests.test_envelope,
    message.test_address_list.AddressListTests.test_any_list
 16 NUL: smtp.test_data.ScannerTests.test_nul
 17 envelopes that hold commands: hostile.test_smuggling.OutboundTests.test_envelope,
    smtp.test_client_session.EnvelopeTests.test_no_command_in_an_address
 18 header lines of strangers: message.test_trace.TraceTests.test_no_injection,
    smtp.test_hostile.InjectionTests.test_nothing_of_the_client_ends_a_header_line
 20 paths that lead out: hostile.test_accounts.AccountTests.test_neighbours_files,
    files.test_folder.Walls.test_traversal_corpus, files.test_homes.Names.test_dangerous_addresses,
    hostile.test_imap.IMAPTests.test_names_that_lead_out
 21 another's account: hostile.test_accounts.AccountTests.test_neighbours_files,
    imap.test_accounts.AnotherAccountTests.test_out_of_reach
 22 removed and made again: hostile.test_accounts.AccountTests.test_successor
 23 which names exist: hostile.test_accounts.AccountTests.test_enumeration,
    accounts.test_login.LoginTests.test_refused_alike, accounts.test_passwords.VerifyTests.test_nobody,
    hostile.test_imap.IMAPTests.test_names_alike
 29 other protocols: hostile.test_crossing.CrossingTests.test_browser,
    hostile.test_crossing.CrossingTests.test_alpn, hostile.test_imap.IMAPTests.test_other_protocols
 32 forged authors: origin.test_dmarc.AuthorTests.test_too_many,
    origin.test_inspection.FindingTests.test_more_than_was_signed,
    origin.test_inspection.FindingTests.test_the_strictest_author,
    origin.test_findings.ForgeryTests.test_ours, origin.test_dkim.RefusalTests.test_changes,
    delivery.test_signing.SigningTests.test_only_what_is_ours
 33 DNS: dns.test_answers.HostileTests.test_any_octets, dns.test_resolver.BeliefTests.test_guessing,
    dns.test_resolver.CaseTests.test_other_letters, hostile.test_names.RandomNamesTests.test_memory,
    hostile.test_names.RandomNamesTests.test_broken_packets,
    hostile.test_names.AmplificationTests.test_what_comes_back, hostile.test_names.StallTests.test_tcp,
    dns.test_transfer.StreamTests.test_refused,
    delivery.test_routes.MXTests.test_loopback, delivery.test_routes.MXTests.test_our_address
 34 TLS sessions: hostile.test_crossing.CrossingTests.test_tickets, wire.test_tls.Sessions.test_other_service
 37 policies that a fault gets round: origin.test_inspection.PolicyTests.test_dmarc_undecided,
    origin.test_inspection.FindingTests.test_off, origin.test_inspection.BudgetTests.test_questions
 38 numbers of messages in many sessions: imap.test_model.ModelTests.test_sessions,
    imap.test_server.SeveralTests.test_order

Files:

 F1  bounce: hostile.test_accounts.AccountTests.test_neighbours_connection
 F2  a stolen data connection: hostile.test_accounts.AccountTests.test_neighbours_connection,
     ftp.test_sockets.Sockets.test_stolen_connection, ftp.test_hostile.DataConnections.test_many_strangers
 F3  commands behind AUTH TLS: hostile.test_crossing.CrossingTests.test_starttls_injection,
     ftp.test_access.Explicit.test_injection
 F4  downgrade and truncation: ftp.test_access.Encrypted.test_cut_without_close_notify,
     ftp.test_access.Explicit.test_old_tls, ftp.test_access.Explicit.test_another_protocol
 F5  traversal: hostile.test_accounts.AccountTests.test_neighbours_files,
     ftp.test_hostile.States.test_paths_that_lead_out
 F6  links: files.test_folder.Walls.test_swap_race,
     files.test_folder.Walls.test_links_are_shown_but_not_followed
 F8  states of a login: ftp.test_hostile.States.test_everything_needs_a_login
 F9  numbers: ftp.test_hostile.Parsers.test_numbers
 F10 NUL, CR, LF: ftp.test_hostile.Parsers.test_commands
 F11 forged log lines: hostile.test_log.LogTests.test_json, hostile.test_log.LogTests.test_text,
     ftp.test_hostile.States.test_forged_log_lines
 F12 split replies: ftp.test_hostile.Parsers.test_replies_are_one_line
 F13 Telnet: ftp.test_hostile.Flooding.test_telnet
 F14 listings: hostile.test_floods.FloodTests.test_long_listings_never_read,
     ftp.test_hostile.Flooding.test_replies_that_nobody_reads
 F15 long input: hostile.test_floods.FloodTests.test_line_without_an_end
 F16 other protocols: hostile.test_crossing.CrossingTests.test_browser
 F17 guessing: accounts.test_guard.GuardTests.test_limit, accounts.test_guard.GuardTests.test_wider_networks
 F18 anonymous: ftp.test_access.Anonymous.test_reads_and_changes_nothing
 F19 exhaustion: hostile.test_floods.SlowTests.test_tiny_pieces,
     hostile.test_floods.FloodTests.test_garbage_for_tls, ftp.test_hostile.DataConnections.test_port_flood
 F20 quotas: files.test_uploads.Quota.test_every_writing_path
 F21 one policy: files.test_policy.PolicyTests.test_every_operation_of_a_home_asks
"""
