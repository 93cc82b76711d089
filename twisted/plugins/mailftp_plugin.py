from twisted.application.service import ServiceMaker

mailftp = ServiceMaker("mailftp", "mailftp.tap", "A complete mail and file server", "mailftp")
